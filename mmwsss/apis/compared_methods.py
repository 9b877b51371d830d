"""Trained networks that are compared: loaded, told apart, of the same classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmwsss.apis.compared_images import check_classes
from mmwsss.apis.inferencer import WSSSInferencer
from mmwsss.utils.checkpoint import find_checkpoint
from mmwsss.utils.digests import digest_file
from mmwsss.utils.errors import ConfigError, WSSSError


@dataclass(frozen=True, eq=False)
class Method:
    """A trained network that is compared.

    Args:
        name: As columns call it.
        config: As it was given.
        checkpoint: File.
        inferencer: What runs it.
    """

    name: str
    config: str
    checkpoint: str
    inferencer: WSSSInferencer

    def record(self) -> dict[str, Any]:
        """Return what tells it from others, the digest of its weights included."""
        found = dict(
            name=self.name,
            config=self.config,
            checkpoint=self.checkpoint,
            sha256=digest_file(self.checkpoint),
        )
        if self.inferencer.is_classifier:
            found['background_threshold'] = self.inferencer.model.background_threshold
        return found


def load_methods(
    entries: Sequence[tuple[str, str, str]],
    *,
    device: str | None = None,
    background_thresholds: Sequence[float] = (),
) -> list[Method]:
    """Load networks of the same classes.

    Args:
        entries: (name, config, checkpoint) of each, as ``WSSSInferencer`` takes them.
        device: Where they run; None takes a GPU if there is one.
        background_thresholds: Score of the background in the seeds, one for all or one
            each; none keeps the configs'.

    Raises:
        ConfigError: if there is none, two have one name or their classes differ, or
            the number of thresholds fits neither.
        WSSSError: of a network that cannot be loaded, naming the method.
    """
    names = [name for name, _, _ in entries]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f'method: expected one or more with names of their own, got {names}'
        )
    thresholds: list[float | None] = list(background_thresholds) or [None]
    if len(thresholds) not in (1, len(names)):
        raise ConfigError(
            f'background thresholds: expected one for all or {len(names)}, one a '
            f'method, got {len(thresholds)}'
        )
    thresholds *= len(names) // len(thresholds)
    methods: list[Method] = []
    for (name, config, weights), threshold in zip(entries, thresholds):
        with telling(name):
            inferencer = WSSSInferencer(
                config, weights, device, background_threshold=threshold
            )
            painter = (methods[0].inferencer if methods else inferencer).painter
            own = dict(classes=inferencer.painter.classes)
            check_classes('the network', own, painter.classes)
        found = str(find_checkpoint(weights))
        methods.append(Method(name, str(config), found, inferencer))
    return methods


@contextmanager
def telling(name: str) -> Iterator[None]:
    """Say of which method an error is.

    Args:
        name: The method's.

    Raises:
        WSSSError: of the kind that was raised, with the name before its message.
    """
    try:
        yield
    except WSSSError as error:
        raise type(error)(f'method {name}: {error}') from error
