"""The loading of data: its share of a training step, and what it is spent on.

python tools/benchmarks/loading.py --json loading.json
Generated images of 366x500 pixels go through a config's own loader into its own model.
``waiting_share`` is the part of a step that the training waits for its batch.
``decode``, ``resize`` and ``rest`` share the time that one process takes to load an
image; ``rest`` is flipping, padding, cropping and packing.
"""

from __future__ import annotations

import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from measuring import Times, parser_of, prepare, report, synchronize
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image
from torch.utils.data import DataLoader

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import draw_scene
from mmwsss.registry import DATASETS, MODELS
from mmwsss.utils.progress import track

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/acr/vit_hybrid_voc.py'
SMALL_CONFIG = ROOT / 'configs/acr/small_hybrid_voc.py'
HEIGHT, WIDTH, QUALITY = 366, 500, 92
WARM_UP = 2
DECODING, RESIZING = {'LoadImage'}, {'Resize', 'RandomResize'}


def write_images(root: Path, dataset: dict, count: int) -> None:
    """Write images, their list and their tags where a data set looks for them."""
    photographs = root / dataset['data_prefix']['img_path']
    photographs.mkdir(parents=True)
    for index in range(count):
        pixels = draw_scene(0, 'train', index, WIDTH).image[:HEIGHT]
        file = photographs / f'{index:06}.jpg'
        Image.fromarray(pixels).save(file, 'JPEG', quality=QUALITY)
    names = DATASETS.get(dataset['type']).METAINFO['classes'][1:]
    ids = [f'{index:06}' for index in range(count)]
    lines = [f'{name} {names[i % len(names)]}' for i, name in enumerate(ids)]
    for key, content in (('ann_file', ids), ('tag_file', lines)):
        path = root / dataset[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(f'{line}\n' for line in content), 'utf-8')


def batches(loader: DataLoader) -> Iterator[dict]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def measure_steps(args: Namespace, config: Config, device: torch.device) -> dict:
    """Train for some steps and time the waiting apart from the rest of them."""
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    model = MODELS.build(config.model).to(device).train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    stream = batches(loader)
    waits, steps = [], []
    for _ in track(range(WARM_UP + args.steps), 'Timed steps'):
        synchronize(device)
        start = time.perf_counter()
        batch = next(stream)
        ready = time.perf_counter()
        model.train_step(batch, optimizer)
        synchronize(device)
        waits.append(ready - start)
        steps.append(time.perf_counter() - start)
    waits, steps = waits[WARM_UP:], steps[WARM_UP:]
    return dict(
        work='training step',
        images=loader.batch_size,
        workers=loader.num_workers,
        step=Times(tuple(steps)).summary(),
        waiting=Times(tuple(waits)).summary(),
        waiting_share=sum(waits) / sum(steps),
    )


def group_of(transform: object) -> str:
    """Name what a transform is for."""
    kind = type(transform).__name__
    if kind in DECODING:
        return 'decode'
    return 'resize' if kind in RESIZING else 'rest'


def measure_transforms(args: Namespace, config: Config) -> dict:
    """Load images in this process, one transform after the other."""
    plain = dict(config.train_dataloader, num_workers=0, persistent_workers=False)
    loader = Runner.build_dataloader(plain, seed=0)
    dataset = loader.dataset
    dataset.full_init()
    indices = iter(loader.sampler)
    images = []
    for _ in track(range(WARM_UP + args.repeats * len(dataset)), 'Timed images'):
        index = next(indices, None)
        if index is None:
            indices = iter(loader.sampler)
            index = next(indices)
        sample = dataset.get_data_info(index)
        spent = dict.fromkeys(('decode', 'resize', 'rest'), 0.0)
        for transform in dataset.pipeline.transforms:
            start = time.perf_counter()
            sample = transform(sample)
            spent[group_of(transform)] += time.perf_counter() - start
        images.append(spent)
    images = images[WARM_UP:]
    whole = sum(sum(spent.values()) for spent in images)
    groups = images[0]
    return dict(
        work='loading an image',
        image=Times(tuple(sum(spent.values()) for spent in images)).summary(),
        seconds={name: median(spent[name] for spent in images) for name in groups},
        shares={name: sum(spent[name] for spent in images) / whole for name in groups},
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=3)
    parser.add_argument('--config', type=Path, help="a classifier's config")
    parser.add_argument('--images', type=int, help='images to generate')
    parser.add_argument('--steps', type=int, help='training steps')
    parser.add_argument('--workers', type=int, help="in place of the config's")
    args = parser.parse_args()
    device = prepare(args)
    args.config = args.config or (SMALL_CONFIG if args.small else CONFIG)
    args.images = args.images or (4 if args.small else 32)
    args.steps = args.steps or (2 if args.small else 10)
    init_default_scope('mmwsss')
    config = Config.fromfile(args.config)
    if args.workers is not None:
        config.train_dataloader.num_workers = args.workers
        config.train_dataloader.persistent_workers = args.workers > 0
    config.model.backbone.pop('pretrained', None)
    with tempfile.TemporaryDirectory() as folder:
        dataset = config.train_dataloader.dataset
        write_images(Path(folder), dataset, args.images)
        dataset.data_root = folder
        steps = measure_steps(args, config, device)
        image = measure_transforms(args, config)
    args.config = os.path.relpath(args.config, ROOT)
    serial = image['image']['median'] * steps['images'] / steps['step']['median']
    report(
        args,
        cases=[steps, image],
        waiting_share=steps['waiting_share'],
        serial_share=serial,
        **{f'{name}_share': value for name, value in image['shares'].items()},
    )


if __name__ == '__main__':
    run_tool(main)
