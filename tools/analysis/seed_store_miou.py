"""Measure stored seeds, generated or accumulated, against masks.

python tools/analysis/seed_store_miou.py configs/rca/vgg16_voc.py \\
    work_dirs/rca/accumulated
The images are those of the config's seed_dataloader that are in the store and have a
mask. STORE is a folder of seeds, or WORK_DIR/accumulated, whose newest maps are taken.
"""

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from torch import Tensor

from mmwsss.apis.accumulated_store import open_accumulated
from mmwsss.apis.launch import config_with, run_tool
from mmwsss.apis.seeds import LOADER, TaggedImages, load_tagged_images
from mmwsss.datasets.transforms import LoadMask
from mmwsss.registry import DATASETS, METRICS
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import DataError

METRIC = 'SeedIoUMetric'


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config with a seed_dataloader')
    parser.add_argument('store', help='folder of seeds or of accumulated maps')
    parser.add_argument(
        '--masks', default='SegmentationClass', help='folder of the masks in data_root'
    )
    parser.add_argument('--metrics', help='JSON file for the figures')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args()


def mask_paths(config: Config, prefix: str) -> dict[str, str]:
    """Return the files of masks by image id, as far as they exist.

    Raises:
        DataError: if there is no such folder, or no image has a mask.
    """
    settings = Config(dict(config[LOADER].dataset.to_dict()))
    settings.data_prefix.seg_map_path = prefix
    dataset = DATASETS.build(settings._cfg_dict)
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    found = {
        dataset.image_id(record['img_path']): record['seg_map_path']
        for record in records
        if Path(record['seg_map_path']).is_file()
    }
    if not found:
        raise DataError(
            f'none of the {len(records)} images has a mask, as '
            f'{records[0]["seg_map_path"]} would be one; name their folder with --masks'
        )
    return found


def read_mask(path: str, image: str, record: SeedRecord) -> Tensor:
    """Return the mask (H, W) int64 of a stored image.

    Raises:
        DataError: if it cannot be read or has another size than the image.
    """
    results = dict(
        img_path=image,
        seg_map_path=path,
        ori_shape=record.ori_shape,
        seg_fields=[],
        reduce_zero_label=False,
        label_map=None,
    )
    return torch.from_numpy(LoadMask()(results)['gt_seg_map']).long()


def samples(
    store: ArtefactStore[SeedRecord], images: TaggedImages, masks: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield what the metric takes of each stored image with a mask."""
    stored = set(store.keys())
    for name, path in zip(images.ids, images.paths):
        if name not in stored or name not in masks:
            continue
        record = store.read(name)
        mask = read_mask(masks[name], path, record)
        yield dict(
            img_path=path,
            img_shape=record.img_shape,
            ori_shape=record.ori_shape,
            gt_sem_seg=dict(data=mask[None]),
            localization=dict(
                data=record.tensor(),
                classes=record.classes,
                input_shape=record.input_shape,
                align_corners=record.align_corners,
            ),
        )


def metric_settings(config: Config, store: Path) -> dict[str, Any]:
    """Return the config's settings of the metric; the split is named by the store."""
    metrics = config.get('test_evaluator') or []
    metrics = metrics if isinstance(metrics, list) else [metrics]
    own = [dict(metric) for metric in metrics if metric.type == METRIC]
    settings = own[0] if own else dict(type=METRIC)
    return settings | dict(split=str(store), out_dir=None)


def main() -> None:
    """Measure."""
    args = parse_arguments()
    config = config_with(args.config, args.cfg_options)
    images = load_tagged_images(config)
    store = open_accumulated(args.store, ended=False)
    metric = METRICS.build(metric_settings(config, store.root))
    metric.dataset_meta = dict(classes=images.classes)
    count = 0
    for sample in samples(store, images, mask_paths(config, args.masks)):
        metric.process(None, [sample])
        count += 1
    if not count:
        raise DataError(
            f'{store.root} holds no image of {LOADER} that has a mask: name the '
            'config that it was made with'
        )
    figures = metric.evaluate(count) | {'images': count}
    for name in sorted(figures):
        print(f'{name} {figures[name]:g}')
    if args.metrics:
        text = json.dumps(figures, indent=1, sort_keys=True)
        atomic_write_text(args.metrics, text + '\n')


if __name__ == '__main__':
    run_tool(main)
