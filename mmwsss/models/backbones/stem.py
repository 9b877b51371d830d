"""How the stem of a hybrid transformer is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mmwsss.models.backbones.cached_features import CachedFeatures
from mmwsss.models.backbones.feature_levels import StackedLevels
from mmwsss.models.backbones.pretrained import create_timm
from mmwsss.utils.errors import ConfigError


class Stem:
    """A timm CNN, or features that it has given beforehand.

    Args:
        model_name: A timm model that offers ``features_only``.
        out_index: Which of its feature levels becomes the token grid; several are
            stacked, at the resolution of the first.
        pretrained: True for timm's official weights, a path for a file of them.
        args: Further arguments of ``timm.create_model``.
        frozen: Names of its parts that are not trained, ``('',)`` for all of it.
        cached: Channels of the features in place of a CNN (``CachedFeatures``).

    Raises:
        ConfigError: if it is neither a CNN nor cached, or both.
    """

    def __init__(
        self,
        model_name: str | None = None,
        *,
        out_index: int | Sequence[int] = -1,
        pretrained: bool | str = False,
        args: dict | None = None,
        frozen: Sequence[str] = (),
        cached: int | None = None,
    ) -> None:
        if (model_name is None) == (cached is None):
            raise ConfigError(
                'stem: expected model_name, or cached=CHANNELS for features computed '
                f'beforehand, got model_name={model_name!r} and cached={cached}'
            )
        if cached is not None and (pretrained or frozen or args):
            raise ConfigError(
                'stem: cached features have no weights; take off pretrained, frozen '
                'and args'
            )
        self.model_name, self.cached = model_name, cached
        self.levels = [out_index] if isinstance(out_index, int) else list(out_index)
        self.pretrained, self.args, self.frozen = pretrained, args or {}, frozen

    def create(self, pretrained: bool | str) -> nn.Module:
        """Build it, with official weights if asked for."""
        if self.cached is not None:
            return CachedFeatures(self.cached)
        args = self.args | dict(features_only=True, out_indices=self.levels)
        cnn = create_timm(str(self.model_name), pretrained=pretrained, args=args)
        return cnn if len(self.levels) == 1 else StackedLevels(cnn)

    def input_channels(self) -> dict[str, Any]:
        """Return the argument of timm's transformers for inputs that are no images."""
        return {} if self.cached is None else dict(in_chans=2 * self.cached + 1)
