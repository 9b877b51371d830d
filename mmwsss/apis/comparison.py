"""What several trained networks make of the same images, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from mmwsss.apis.compared_images import ComparedImage, named_images
from mmwsss.apis.compared_methods import Method, telling
from mmwsss.apis.inferencer_inputs import InputImage, Point
from mmwsss.evaluation.image_iou import image_iou
from mmwsss.utils.errors import ConfigError
from mmwsss.visualization.examples import Painter
from mmwsss.visualization.predictions import Prediction

GIVEN, FOUND = 'given', 'found'
MAPS, SEEDS, LABEL, AFFINITY = 'maps', 'seeds', 'label', 'affinity'
PREDICTION = 'prediction'
KINDS = {MAPS: 'map', SEEDS: 'seeds', LABEL: 'pseudo label', AFFINITY: 'affinity'}
"""What can be shown of a classifier, and how a column calls it."""
UNREFINED = 'threshold'


@dataclass(frozen=True)
class ComparisonSettings:
    """What is shown.

    Args:
        show: Of ``KINDS``, in the order of the columns. Of a segmentor its prediction
            is shown, whatever is asked for. With maps each tag has a row.
        tags: ``GIVEN``: those listed, else those of the mask, else those found;
            ``FOUND``: what each classifier finds; or names, for all images.
        points: Names of images, columns and rows in pixels whose affinity is asked
            for; each has a row.
        refiner: What makes pseudo labels, in place of the configs'.
        batch_size: Images of one size that go through a network at once.

    Raises:
        ConfigError: if nothing, or something unknown, is shown, or points and affinity
            do not come together.
    """

    show: tuple[str, ...] = (MAPS, SEEDS)
    tags: str | tuple[str, ...] = GIVEN
    points: tuple[tuple[str, float, float], ...] = ()
    refiner: str | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.show if kind not in KINDS]
        if unknown or not self.show:
            raise ConfigError(f'show: expected some of {tuple(KINDS)}, got {self.show}')
        if (AFFINITY in self.show) != bool(self.points):
            raise ConfigError(
                'affinity is that of a point: show affinity and name points, both or '
                'neither'
            )

    def points_of(self, image: ComparedImage) -> list[Point | None]:
        """Return the points of an image; None where none is asked for."""
        found = [(x, y) for name, x, y in self.points if name == image.name]
        return [*found] or [None]


class Entry(NamedTuple):
    """An image with a point of it, as all methods look at it."""

    image: ComparedImage
    point: Point | None


class ComparedRow(NamedTuple):
    """A row of the table, before it is drawn."""

    entry: Entry
    tag: str | None
    """Whose maps are shown; None without maps, or without tags."""
    predictions: list[Prediction]
    """One a method."""


class Comparison:
    """Methods side by side.

    Args:
        methods: Of ``load_methods``.
        settings: What is shown of them.
    """

    def __init__(self, methods: Sequence[Method], settings: ComparisonSettings) -> None:
        self.methods, self.settings = list(methods), settings

    @property
    def painter(self) -> Painter:
        """Names and colours of the classes, those of the first method."""
        return self.methods[0].inferencer.painter

    def rank(
        self,
        images: Sequence[ComparedImage],
        name: str,
        *,
        count: int,
        worst: bool = True,
    ) -> list[tuple[ComparedImage, float]]:
        """Return the images that a method labels worst, or best, with their IoU.

        Judged are its pseudo labels if those are shown, else its seeds; of a segmentor
        its prediction. Images whose mask judges no pixel are left out, equals keep
        their order.

        Args:
            images: To choose from.
            name: The method's.
            count: Images at most.
            worst: Whether the worst come first, or the best.

        Raises:
            ConfigError: if there is no such method or no image with a mask.
            WSSSError: of an image or the method.
        """
        names = [method.name for method in self.methods]
        if name not in names:
            raise ConfigError(f'no method {name!r}; there are {", ".join(names)}')
        judged = [image for image in images if image.mask_path is not None]
        if not judged or count < 1:
            raise ConfigError(
                f'the {count} worst or best of {len(judged)} images with masks: ask '
                'for one or more, of images that have masks'
            )
        method = self.methods[names.index(name)]
        kind = LABEL if LABEL in self.settings.show else SEEDS
        found = []
        for image, prediction in zip(
            judged, self._predict(method, [Entry(image, None) for image in judged])
        ):
            value = self.iou(image, prediction, kind)
            if value is not None:
                found.append((image, value))
        found.sort(key=lambda pair: pair[1] if worst else -pair[1])
        return found[:count]

    def iou(
        self, image: ComparedImage, prediction: Prediction, kind: str
    ) -> float | None:
        """Return the IoU of an image's labels in [0, 1], None if it is not judged.

        Args:
            image: With its mask.
            prediction: Of it.
            kind: ``SEEDS``, else the label is judged; a segmentor has no seeds.

        Raises:
            DataError: if the mask does not fit.
        """
        mask = image.mask(self.painter.classes, size=prediction.image.shape[:2])
        seeds = prediction.seeds if kind == SEEDS else None
        label = prediction.label if seeds is None else seeds
        return None if mask is None else image_iou(label, mask)

    def rows(self, images: Sequence[ComparedImage]) -> list[ComparedRow]:
        """Run all methods on images, all of which are kept in memory.

        Raises:
            ConfigError: if a point is of none of the images.
            WSSSError: of an image or a method, naming the method.
        """
        named_images(images, [name for name, _, _ in self.settings.points])
        entries = [
            Entry(image, point)
            for image in images
            for point in self.settings.points_of(image)
        ]
        found = [list(self._predict(method, entries)) for method in self.methods]
        return [
            ComparedRow(entry, tag, predictions)
            for entry, *predictions in zip(entries, *found)
            for tag in self._rows_of(predictions)
        ]

    def _rows_of(self, predictions: Sequence[Prediction]) -> list[str | None]:
        """Return the tags whose maps have a row each; None is a row without."""
        found = {
            tag
            for prediction in predictions
            if prediction.localization is not None
            for tag in prediction.tags
        }
        ordered = [name for name in self.painter.classes if name in found]
        return [*ordered] if MAPS in self.settings.show and ordered else [None]

    def _predict(
        self, method: Method, entries: Sequence[Entry]
    ) -> Iterator[Prediction]:
        classifier = method.inferencer.is_classifier
        labels = classifier and LABEL in self.settings.show
        refiner = self.settings.refiner if labels else UNREFINED
        with telling(method.name):
            images = [
                InputImage(
                    image.name,
                    image.path,
                    tags=self._tags(image) if classifier else None,
                    point=point if classifier else None,
                )
                for image, point in entries
            ]
            yield from method.inferencer.predict(
                images,
                batch_size=self.settings.batch_size,
                refiner=refiner if classifier else None,
            )

    def _tags(self, image: ComparedImage) -> tuple[str, ...] | None:
        chosen = self.settings.tags
        if chosen == GIVEN:
            return image.own_tags(self.painter.classes)
        return None if isinstance(chosen, str) else chosen

    def columns(self) -> list[tuple[str, int]]:
        """Return what each column behind the image's shows, and the method's place."""
        places = range(len(self.methods))
        classifiers = [p for p in places if self.methods[p].inferencer.is_classifier]
        found = list(product(self.settings.show, classifiers))
        return found + [(PREDICTION, p) for p in places if p not in classifiers]

    def record(self, rows: Sequence[ComparedRow]) -> dict[str, Any]:
        """Return what the figure shows, as JSON can hold it: all but the pixels."""
        settings = self.settings
        return dict(
            methods=[method.record() for method in self.methods],
            show=list(settings.show),
            tags=settings.tags,
            refiner=settings.refiner,
            rows=[self._row_record(row) for row in rows],
        )

    def _row_record(self, row: ComparedRow) -> dict[str, Any]:
        (image, point), found = row.entry, {}
        for method, prediction in zip(self.methods, row.predictions):
            kinds = [k for k, place in self.columns() if self.methods[place] is method]
            judged = [k for k in kinds if k in (SEEDS, LABEL, PREDICTION)]
            scores = prediction.scores
            found[method.name] = dict(
                tags=list(prediction.tags),
                tags_given=prediction.tags_given,
                scores={tag: scores[tag] for tag in prediction.tags if tag in scores},
                iou={k: self.iou(image, prediction, k) for k in judged},
            )
        return dict(
            image=image.name,
            path=image.path,
            mask=image.mask_path,
            tag=row.tag,
            point=point,
            methods=found,
        )
