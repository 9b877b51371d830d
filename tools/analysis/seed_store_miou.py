"""Measure stored seeds, generated or accumulated, against masks.

python tools/analysis/seed_store_miou.py configs/rca/vgg16_voc.py \\
    work_dirs/rca/accumulated
The images are those of the config's seed_dataloader that are in the store and have a
mask. STORE is a folder of seeds, or WORK_DIR/accumulated, whose newest maps are taken.
"""

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any

from mmwsss.apis.accumulated_store import open_accumulated
from mmwsss.apis.launch import add_cfg_options, config_with, run_tool
from mmwsss.apis.seed_masks import mask_paths, metric_settings, read_mask
from mmwsss.apis.seeds import LOADER, TaggedImages, load_tagged_images
from mmwsss.registry import METRICS
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import DataError
from mmwsss.utils.progress import track


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
    add_cfg_options(parser)
    return parser.parse_args()


def samples(
    store: ArtefactStore[SeedRecord], images: TaggedImages, masks: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield what the metric takes of each stored image with a mask."""
    stored = set(store.keys())
    for name, path in track([*zip(images.ids, images.paths)], 'Seeds'):
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
