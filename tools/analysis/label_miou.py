"""Measure stored pseudo labels against the masks of any split.

python tools/analysis/label_miou.py configs/acr/vit_hybrid_voc.py \\
    work_dirs/pseudo_labels/acr_voc
The images are those of the config's data set (--loader) that have a label and a mask.
One image at a time is in memory.
"""

import json
import math
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

from mmwsss.apis.launch import add_cfg_options, config_with, run_tool
from mmwsss.datasets import TagDataset
from mmwsss.datasets.pseudo_label import LABEL_FOLDER, MANIFEST, read_manifest
from mmwsss.datasets.transforms import LoadMask
from mmwsss.registry import DATASETS
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.label_codec import IGNORED_LABEL, LabelCodec
from mmwsss.utils.progress import track

Pair = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]


def parser_of(text: str | None) -> ArgumentParser:
    """Return the command line of a tool that measures labels."""
    parser = ArgumentParser(
        description=text, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config whose data set names the images')
    parser.add_argument('labels', help=f'folder with {MANIFEST}')
    parser.add_argument('--loader', default='test', help='train, seed, val or test')
    parser.add_argument('--masks', help="folder of masks in place of the data set's")
    parser.add_argument('--metrics', help='JSON file for the figures')
    add_cfg_options(parser)
    return parser


def load_data_set(config: Config, loader: str, masks: str | None) -> TagDataset:
    """Build a loader's data set without its pipeline.

    Raises:
        ConfigError: if there is none, or it names no masks.
    """
    init_default_scope(config.get('default_scope') or 'mmwsss')
    settings = (config.get(f'{loader}_dataloader') or {}).get('dataset')
    if settings is None:
        raise ConfigError(f'the config has no {loader}_dataloader; choose --loader')
    settings = settings.copy()
    settings.pipeline = []
    if masks:
        settings.data_prefix.seg_map_path = masks
    dataset = DATASETS.build(settings)
    if not isinstance(dataset, TagDataset) or 'seg_map_path' not in dataset.data_prefix:
        raise ConfigError(
            f'{loader}_dataloader names no masks of a TagDataset; choose another '
            '--loader or name the folder of the masks with --masks'
        )
    return dataset


def pairs(dataset: TagDataset, labels: Path) -> Iterator[Pair]:
    """Yield image id, label (H, W) and mask (H, W) of each image that has both.

    Raises:
        DataError: if a file is damaged, or label and mask differ in size.
    """
    codec, load = LabelCodec(dataset.metainfo['palette']), LoadMask()
    for index in track(range(len(dataset)), 'Labels'):
        record = dataset.get_data_info(index)
        image_id = dataset.image_id(record['img_path'])
        path = labels / LABEL_FOLDER / f'{image_id}.png'
        if not path.is_file() or not Path(record['seg_map_path']).is_file():
            continue
        try:
            label = codec.decode(path.read_bytes())
        except ValueError as error:
            raise DataError(f'{path}: {error}; make the labels again') from error
        mask = load.transform(record)['gt_seg_map']
        if label.shape != mask.shape:
            raise DataError(
                f'{path} is {label.shape}, the mask {mask.shape} (height, width)'
            )
        yield image_id, label, mask


def count_pixels(found: Iterable[Pair], num_classes: int) -> tuple[NDArray, int]:
    """Count pixels by label and mask, and the images.

    Returns:
        (num_classes + 1, num_classes) int64: rows are labels, the last undecided;
        columns are classes of the mask, whose 255 is left out. And the images.

    Raises:
        DataError: if a mask holds what is no class.
    """
    counts, images = np.zeros((num_classes + 1, num_classes), np.int64), 0
    for image_id, label, mask in found:
        judged = mask != IGNORED_LABEL
        rows = np.minimum(label[judged].astype(np.int64), num_classes)
        columns = mask[judged].astype(np.int64)
        if columns.max(initial=0) >= num_classes:
            raise DataError(
                f'mask of {image_id} holds {columns.max()}; expected '
                f'0..{num_classes - 1} or {IGNORED_LABEL}'
            )
        flat = np.bincount(rows * num_classes + columns, minlength=counts.size)
        counts += flat.reshape(counts.shape)
        images += 1
    return counts, images


def figures_of(counts: NDArray, classes: Sequence[str]) -> dict[str, Any]:
    """Return figures in percent; a class that occurs nowhere has None.

    ``mIoU`` takes undecided pixels as missed, ``mIoU_decided`` leaves them out.
    """
    decided = _ratios(counts[:-1])
    missed = _ratios(counts)
    total = max(int(counts.sum()), 1)
    return dict(
        mIoU=_mean(missed),
        mIoU_decided=_mean(decided),
        undecided=round(100 * int(counts[-1].sum()) / total, 2),
        IoU_classwise=dict(zip(classes, missed)),
        IoU_decided_classwise=dict(zip(classes, decided)),
        undecided_classwise=dict(zip(classes, _shares(counts))),
    )


def _ratios(counts: NDArray) -> list[float | None]:
    size = counts.shape[1]
    hits = np.diag(counts[:size])
    unions = counts[:size].sum(1) + counts.sum(0) - hits
    pairs_ = zip(hits.tolist(), unions.tolist())
    return [round(100 * h / u, 2) if u else None for h, u in pairs_]


def _shares(counts: NDArray) -> list[float | None]:
    """Share of each class of the mask that is undecided."""
    pairs_ = zip(counts[-1].tolist(), counts.sum(0).tolist())
    return [round(100 * n / total, 2) if total else None for n, total in pairs_]


def _mean(ratios: Sequence[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return round(math.fsum(known) / len(known), 2) if known else None


def data_set_of(args: Namespace) -> TagDataset:
    """Build the data set of a command line, once the labels are found to be its own.

    Raises:
        ConfigError: if there is no such config or data set, or it names no masks.
        DataError: if the labels are of other classes.
    """
    config = config_with(args.config, args.cfg_options)
    manifest = read_manifest(Path(args.labels, MANIFEST))
    dataset = load_data_set(config, args.loader, args.masks)
    classes = dataset.metainfo['classes']
    if list(classes) != manifest['classes']:
        raise DataError(
            f'{args.labels} has labels of {manifest["classes"]}, the data set the '
            f'classes {list(classes)}; name the config that they were made with'
        )
    return dataset


def measure(
    dataset: TagDataset, found: Iterable[Pair], args: Namespace
) -> dict[str, Any]:
    """Return the figures of a data set's labels and masks.

    Raises:
        DataError: if there are none, or a mask holds what is no class.
    """
    classes = dataset.metainfo['classes']
    counts, images = count_pixels(found, len(classes))
    if not images:
        raise DataError(
            f'none of the {len(dataset)} images of {args.loader}_dataloader has a '
            f'label in {args.labels} and a mask; choose --loader or --masks'
        )
    return dict(
        split=dataset.split,
        images=images,
        of=len(dataset),
        **figures_of(counts, classes),
    )


def write_figures(figures: dict[str, Any], path: str | None) -> None:
    """Write figures as JSON, if a file is named."""
    if path:
        atomic_write_text(path, json.dumps(figures, indent=1) + '\n')


def main() -> None:
    """Measure."""
    args = parser_of(__doc__).parse_args()
    dataset = data_set_of(args)
    figures = measure(dataset, pairs(dataset, Path(args.labels)), args)
    for name, value in figures.items():
        print(f'{name} {value}')
    write_figures(figures, args.metrics)


if __name__ == '__main__':
    run_tool(main)
