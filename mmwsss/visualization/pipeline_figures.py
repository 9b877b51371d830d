"""The figures of a pipeline's work directory, and those of two compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray

from mmwsss.utils.errors import ArtefactError, DataError

STAGES = ('data', 'classifier', 'seeds', 'labels', 'segmentor', 'test')
COMPARED = ('classifier_map', 'seed_miou', 'segmentor_miou', 'undecided_share')
PLACES = frozenset({'data_root', 'label_root', 'out_dir', 'work_dir'})
"""Settings that say where files are and change no figure."""
PERCENT = 100
DECIMALS = 2
EPS = 1e-10  # pixels, as the field's scripts add to a union

Figures = dict[str, Any]


class ConstantAnswers:
    """mIoU of answers that look at no pixel: what any segmentation must exceed.

    ``background`` calls every pixel background, ``first_tag`` calls the whole image
    its first tag. The mean is over all classes; one that occurs nowhere counts 0.

    Args:
        num_classes: Classes, the background included.
        ignore_index: Mask value of pixels that are not judged.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        shape = (num_classes, num_classes)
        self._confusion = {
            name: np.zeros(shape, np.int64) for name in ('background', 'first_tag')
        }

    def add(self, mask: NDArray[np.integer], first_tag: int | None) -> None:
        """Judge both answers on an image.

        Args:
            mask: (H, W), 0 = background, class + 1, ``ignore_index`` = not judged.
            first_tag: Foreground class index, None for an image without tags, whose
                answer is background.

        Raises:
            DataError: if a value is no class.
        """
        judged = mask[mask != self.ignore_index]
        counts = np.bincount(judged, minlength=self.num_classes)
        if len(counts) > self.num_classes:
            raise DataError(
                f'a mask holds {judged.max()}, the classes are 0..'
                f'{self.num_classes - 1} and {self.ignore_index} is not judged'
            )
        self._confusion['background'][0] += counts
        answer = 0 if first_tag is None else first_tag + 1
        self._confusion['first_tag'][answer] += counts

    def miou(self) -> dict[str, float]:
        """Return each answer's mIoU in percent."""
        return {name: _miou(counts) for name, counts in self._confusion.items()}


def _miou(confusion: NDArray[np.int64]) -> float:
    """Return the mIoU of counts (answer, mask), in percent."""
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return round(float(PERCENT * np.mean(hit / (union + EPS))), DECIMALS)


def read_figures(work_dir: str | Path, constants: Mapping[str, float]) -> Figures:
    """Gather what the stages of a finished pipeline have measured.

    Args:
        work_dir: Folder of ``tools/run_pipeline.py``.
        constants: mIoU in percent of constant answers on the test images.

    Returns:
        Plain values: mIoU, IoU and shares in percent, ``classifier_map`` and
        thresholds in [0, 1].

    Raises:
        ArtefactError: if a stage has not finished or a file is damaged.
    """
    folder = Path(work_dir)
    records = {name: read_json(folder / 'stages' / f'{name}.json') for name in STAGES}
    seeds = read_json(folder / 'seeds' / 'seed_curve.json')
    tested = read_json(folder / 'test' / 'metrics.json')
    protocols = seeds['protocols']
    best = protocols['best']
    return dict(
        classifier_map=_map_of(folder / 'seeds' / 'metrics.json'),
        seed_miou=round(best['mIoU'], DECIMALS),
        constant_miou=max(constants.values()),
        segmentor_miou=tested['mIoU'],
        undecided_share=records['labels']['quality']['undecided'],
        constant_miou_by_answer=dict(constants),
        thresholds={name: entry['threshold'] for name, entry in protocols.items()},
        seed_miou_by_protocol={
            name: round(entry['mIoU'], DECIMALS) for name, entry in protocols.items()
        },
        classes=seeds['classes'],
        seed_iou=_by_class(seeds['classes'], best['classes']['IoU']),
        segmentor_iou=tested['IoU_classwise'],
        test_split=seeds['split'],
        num_test_images=seeds['num_images'],
        stages=[
            dict(name=name, seconds=record['seconds'])
            for name, record in records.items()
        ],
        seconds=round(sum(record['seconds'] for record in records.values()), 1),
    )


def _map_of(path: Path) -> float:
    figures = read_json(path)
    name = 'multi-label/mAP'
    if name not in figures:
        raise ArtefactError(
            f'{path} has no {name}: add dict(type="mmpretrain.AveragePrecision") to '
            "test_evaluator of the classifier's config and redo the stage seeds"
        )
    return round(figures[name] / PERCENT, 4)


def _by_class(classes: list[str], values: list[float | None]) -> dict[str, Any]:
    return {
        name: None if value is None else round(value, DECIMALS)
        for name, value in zip(classes, values)
    }


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of JSON that a stage has written.

    Raises:
        ArtefactError: if it is missing or damaged.
    """
    remedy = 'finish the chain: tools/run_pipeline.py CONFIG --work-dir DIR'
    try:
        value = json.loads(path.read_text('utf-8'))
        if not isinstance(value, dict):
            raise ValueError('not an object')
        return value
    except FileNotFoundError as error:
        raise ArtefactError(f'{path} is missing; {remedy}') from error
    except (OSError, ValueError) as error:
        raise ArtefactError(f'{path} cannot be read ({error}); {remedy}') from error


def compare_figures(
    work_dir: str | Path, other_dir: str | Path, figures: Figures
) -> Figures:
    """Compare a run with another on the same data.

    Args:
        work_dir: Folder of the run.
        other_dir: Folder of the other.
        figures: Those of the run.

    Returns:
        Figures of the other, differences (the run less the other), and the settings
        in which the two differ.

    Raises:
        DataError: if the other was made from other data.
        ArtefactError: if one of them has not finished.
    """
    data = [
        read_json(Path(folder) / 'stages' / 'data.json')['output']
        for folder in (work_dir, other_dir)
    ]
    if data[0] != data[1]:
        raise DataError(
            f'{other_dir} was made from other images or tags than {work_dir}, so their '
            'figures cannot be compared; make it again from the same data (--seed)'
        )
    other = read_figures(other_dir, figures['constant_miou_by_answer'])
    return dict(
        work_dir=str(other_dir),
        figures={name: other[name] for name in COMPARED},
        difference={name: round(figures[name] - other[name], 4) for name in COMPARED},
        settings=_changed_settings(Path(work_dir), Path(other_dir)),
        stages=other['stages'],
        seconds=other['seconds'],
    )


def _changed_settings(folder: Path, other: Path) -> dict[str, list[Any]]:
    """Return settings with other values, as name: [in this run, in the other]."""
    changed = {}
    for part in ('classifier', 'segmentor'):
        both = [
            dict(_flat(Config.fromfile(root / 'configs' / f'{part}.py').to_dict()))
            for root in (folder, other)
        ]
        for name in sorted(both[0].keys() | both[1].keys()):
            values = [settings.get(name) for settings in both]
            if values[0] != values[1] and name.rpartition('.')[2] not in PLACES:
                changed[f'{part}: {name}'] = values
    return changed


def _flat(settings: Any, prefix: str = '') -> Iterable[tuple[str, Any]]:
    """Yield the values of nested settings by their dotted names."""
    if isinstance(settings, (list, tuple)):
        settings = dict(enumerate(settings))
    if not isinstance(settings, dict) or not settings:
        yield prefix, settings
        return
    for key, value in settings.items():
        yield from _flat(value, f'{prefix}.{key}' if prefix else str(key))
