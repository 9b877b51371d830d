"""What the demo page asks of a network, without the page."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mmwsss.apis.inferencer import RefinerChoice, WSSSInferencer
from mmwsss.apis.inferencer_affinity import affinity_of_point
from mmwsss.apis.inferencer_inputs import InputImage, LoadedImage, Pixels
from mmwsss.apis.pseudo_labels import choose_refiner
from mmwsss.datasets.synthetic import draw_scene
from mmwsss.functional.seeds import label_map
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.refiners import Refiner, build_refiner
from mmwsss.refiners.threshold import ThresholdRefiner
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.visualization.predictions import Prediction

MOST_PIXELS = 1 << 26
"""Of an image that is opened."""
MAX_SIDE = 1024
"""Longest side that is looked at; the time of refinement grows with the pixels."""
EXAMPLE_SEED, EXAMPLE_SPLIT, EXAMPLE_SIDE = 0, 'test', 96


@dataclass(frozen=True, eq=False)
class Findings:
    """What the page knows of an image.

    Args:
        image: It, with the tags that were ticked, if any were.
        loaded: It, as it reached the network.
        prediction: What is shown.
        threshold: Score of the background that seeds and label were made with.
        scores: (k, H, W) maps that the label's threshold applies to; None where the
            refiner's label has no such threshold.
    """

    image: InputImage
    loaded: LoadedImage
    prediction: Prediction
    threshold: float
    scores: Tensor | None


class DemoSession:
    """Looks at images for a page: network once, thresholds as often as they move.

    Calls of several threads take turns.

    Args:
        inferencer: Of a classifier or a segmentor.
        refiner: Name or settings of what makes pseudo labels, in place of the config's.

    Raises:
        ConfigError: if there is no such refiner, or the model is a segmentor and one
            is named.
    """

    def __init__(
        self, inferencer: WSSSInferencer, *, refiner: RefinerChoice = None
    ) -> None:
        self.inferencer, self.model = inferencer, inferencer.model
        self.classes = tuple(inferencer.painter.classes[1:])
        self.refiner = self._refiner(refiner)
        self._turn = threading.Lock()

    def _refiner(self, choice: RefinerChoice) -> Refiner | None:
        if not self.inferencer.is_classifier:
            if choice is not None:
                raise ConfigError(
                    f'refiner is for classifiers; {type(self.model).__name__} is a '
                    'segmentor, which labels an image without it: leave it out'
                )
            return None
        if choice is None or isinstance(choice, str):
            return choose_refiner(self.inferencer.cfg, name=choice)
        return build_refiner(choice)

    @property
    def threshold(self) -> float:
        """Score of the background that the page begins with: the model's."""
        return float(getattr(self.model, 'background_threshold', 0.0))

    @property
    def missing_tags(self) -> str:
        """Why tags and thresholds are not to be chosen; '' if they are."""
        if self.refiner is not None:
            return ''
        return f'{type(self.model).__name__} is a segmentor: it labels without tags.'

    @property
    def missing_affinity(self) -> str:
        """Why no affinity of a point is to be had; '' if it is."""
        if isinstance(self.model, ACRClassifier):
            return ''
        return (
            f'{type(self.model).__name__} has no attention between patches, which the '
            'affinity of a point is read from; ACR has.'
        )

    @property
    def label_rule(self) -> str:
        """How the label comes about, in words."""
        if self.refiner is None:
            return 'The label is the segmentor’s own.'
        name = type(self.refiner).__name__
        if isinstance(self.refiner, ThresholdRefiner):
            return f'The pseudo label is by {name}, at the same threshold as the seeds.'
        return f'The pseudo label is by {name}, which sets the background itself.'

    def look(
        self,
        image: InputImage,
        *,
        tags: Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> Findings:
        """Run the network on an image.

        Args:
            image: Of ``open_image`` or ``example_image``.
            tags: Names of the classes to localize; None lets the network find them.
            threshold: Score of the background in [0, 1]; None is the model's.

        Raises:
            WSSSError: of the image, the class or the threshold that does not fit.
        """
        if tags is not None and self.missing_tags:
            raise ConfigError(f'{self.missing_tags} Tick none.')
        if tags is not None and not tags:
            raise ConfigError(
                'no tag is ticked: tick one, or let the network find them'
            )
        image = replace(image, tags=None if tags is None else tuple(tags))
        # made cheaply here: at_threshold makes it of the refined maps
        first = ThresholdRefiner() if self._has_threshold else self.refiner
        with self._turn:
            ((loaded,),) = self.inferencer.preprocess([image])
            (prediction,) = self.inferencer.forward([loaded], refiner=first)
            scores = self._scores(prediction)
        value = self.threshold if threshold is None else threshold
        found = Findings(image, loaded, prediction, value, scores)
        return self.at_threshold(found, value)

    @property
    def _has_threshold(self) -> bool:
        return isinstance(self.refiner, ThresholdRefiner)

    @torch.no_grad()
    def _scores(self, prediction: Prediction) -> Tensor | None:
        if not isinstance(self.refiner, ThresholdRefiner):
            return None
        device = next(self.model.parameters()).device
        maps = torch.as_tensor(
            prediction.localization, device='cpu' if self.refiner.on_cpu else device
        )
        return self.refiner.scores(maps, prediction.image).cpu()

    def at_threshold(self, found: Findings, threshold: float) -> Findings:
        """Make seeds and label anew; the network does not run.

        A second, higher threshold of the refiner goes up with the first where it must.

        Raises:
            ConfigError: if the threshold is not in [0, 1].
        """
        if not 0 <= threshold <= 1:
            raise ConfigError(
                f'background threshold: expected a number in [0, 1], got {threshold}'
            )
        old = found.prediction
        if old.localization is None:
            return replace(found, threshold=threshold)
        tags = [self.classes.index(tag) for tag in old.tags]
        seeds = label_map(torch.from_numpy(old.localization), tags, threshold)
        label = old.label
        if found.scores is not None and isinstance(self.refiner, ThresholdRefiner):
            high = self.refiner.foreground_threshold
            rule = ThresholdRefiner(
                background_threshold=threshold,
                foreground_threshold=None if high is None else max(high, threshold),
            )
            label = rule(found.scores, old.image, tags)
        new = replace(old, seeds=seeds.numpy().astype(np.uint8), label=label)
        return replace(found, prediction=new, threshold=threshold)

    @torch.no_grad()
    def at_point(self, found: Findings, point: Sequence[float | None]) -> Findings:
        """Add what attention joins to a point.

        Args:
            found: Of ``look``.
            point: (column, row) in pixels; None for an empty field.

        Raises:
            ConfigError: if the model has no such affinity, or a number is missing.
            DataError: if the point lies outside the image.
        """
        if self.missing_affinity:
            raise ConfigError(self.missing_affinity)
        column, row = point
        if column is None or row is None:
            raise ConfigError('a point has a column and a row: enter both numbers')
        place = float(column), float(row)
        with self._turn:
            batch = self.inferencer.collate_fn([found.loaded.data])
            data = self.model.data_preprocessor(batch, False)
            affinity = affinity_of_point(
                self.model.backbone,
                # as the inferencer hands it on, so that rounding is the same
                data['inputs'][0][None],
                found.prediction.sample,
                place,
                align_corners=self.model.align_corners,
            )
        new = replace(found.prediction, point=place, affinity=affinity.cpu().numpy())
        return replace(found, prediction=new)


def open_image(path: str | Path) -> tuple[InputImage, str]:
    """Open an image file; shrink one whose longest side exceeds ``MAX_SIDE``.

    Returns:
        The image, and what was done to it in words, '' if nothing was.

    Raises:
        DataError: if it cannot be read or has more than ``MOST_PIXELS``.
    """
    path = Path(path)
    _check_size(path)
    try:
        pixels = InputImage(path.stem, str(path)).pixels()
    except DataError as error:
        cause = error.__cause__
        reason = (
            'it is no image' if isinstance(cause, UnidentifiedImageError) else cause
        )
        # the folder that the page keeps it in means nothing to whoever chose it
        raise DataError(
            f'{path.name} cannot be read: {reason}; choose another file'
        ) from error
    rows, columns = pixels.shape[:2]
    small = shrunk(pixels)
    done = ''
    if small is not pixels:
        size = f'{small.shape[1]} x {small.shape[0]}'
        done = f'The file has {columns} x {rows} pixels; it is looked at in {size}.'
    return InputImage(path.stem, path.name, small), done


def _check_size(path: Path) -> None:
    try:
        with Image.open(path) as image:
            columns, rows = image.size
    except Image.DecompressionBombError:
        columns = rows = MOST_PIXELS
    # what is no image says so when it is read
    except (OSError, ValueError, SyntaxError):
        return
    if columns * rows > MOST_PIXELS:
        raise DataError(
            f'{path.name} is too large: more than {MOST_PIXELS / 1e6:.0f} million '
            'pixels; make it smaller first'
        )


def shrunk(pixels: Pixels, max_side: int = MAX_SIDE) -> Pixels:
    """Return an image (H, W, 3) whose longest side is at most ``max_side``."""
    scale = max_side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    rows, columns = (max(1, round(scale * side)) for side in pixels.shape[:2])
    small = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.LANCZOS)
    return np.asarray(small)


def example_image(index: int) -> tuple[InputImage, tuple[str, ...]]:
    """Draw an image of the embedded data set; return it and the names of its tags."""
    scene = draw_scene(EXAMPLE_SEED, EXAMPLE_SPLIT, index, EXAMPLE_SIDE)
    pixels = np.ascontiguousarray(scene.image[..., ::-1])
    return InputImage(f'Example {index + 1}', array=pixels), scene.tags
