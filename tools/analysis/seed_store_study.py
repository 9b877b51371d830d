"""Set the seed store against the field's dictionaries, on a config's own images.

python tools/analysis/seed_store_study.py configs/cam/lite0_voc.py \\
    work_dirs/cam/epoch_8.pth --images 100 --json seed_store.json
The classifier's maps of the first images of the seed_dataloader that have a mask are
written as seed records and as ``np.save`` of ``{class: float32 map of the image's
size}``. Sizes, times of writing and reading (in turns, in this process) and, at each
background threshold, seed mIoU of both are set side by side. Reading ends with tensors
of the maps; ``read_at_image_size`` also has the records' maps up-sampled.
"""

import json
import statistics
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmwsss.apis.launch import add_cfg_options, config_with, run_tool
from mmwsss.apis.seed_exchange import maps_of
from mmwsss.apis.seed_masks import mask_paths, read_mask
from mmwsss.apis.seeds import load_classifier, load_tagged_images, predict_images
from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.seeds import class_rates, seed_histogram, threshold_curve
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.progress import track

THRESHOLDS = torch.linspace(0.05, 0.95, 91)
IGNORED = 255
Maps = dict[int, np.ndarray]


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config with a seed_dataloader')
    parser.add_argument('checkpoint', help="classifier's checkpoint")
    parser.add_argument('--images', type=int, default=100)
    parser.add_argument('--repeats', type=int, default=5, help='timed runs of each')
    parser.add_argument(
        '--masks', default='SegmentationClass', help='folder of the masks in data_root'
    )
    parser.add_argument('--json', help='file for the figures')
    add_cfg_options(parser)
    return parser.parse_args()


def maps_in_float32(sample: WSSSDataSample) -> Maps:
    """Return a sample's maps of the image's size by class, without any record."""
    found = sample.localization
    maps = maps_to_image(
        found.data.float(),
        input_shape=found.input_shape,
        img_shape=sample.img_shape,
        ori_shape=sample.ori_shape,
        align_corners=bool(found.align_corners),
    )
    return dict(zip(found.classes, maps.cpu().numpy()))


class Study:
    """Both ways of keeping the same maps, in a folder."""

    def __init__(self, folder: Path, samples: dict[str, WSSSDataSample]) -> None:
        self.folder = folder
        self.records = {n: SeedRecord.from_sample(s) for n, s in samples.items()}
        self.dictionaries = {n: maps_in_float32(s) for n, s in samples.items()}

    def write_records(self) -> None:
        """Write the records."""
        store = ArtefactStore.create(self.folder / 'seeds', SeedCodec(), {'by': 'us'})
        for name, record in self.records.items():
            store.write(name, record)

    def write_dictionaries(self) -> None:
        """Write the dictionaries."""
        (self.folder / 'npy').mkdir(exist_ok=True)
        for name, maps in self.dictionaries.items():
            np.save(self.folder / f'npy/{name}.npy', maps, allow_pickle=True)

    def stored(self) -> Iterator[tuple[str, SeedRecord]]:
        """Read each record."""
        store = ArtefactStore.open(self.folder / 'seeds', SeedCodec())
        for name in self.records:
            yield name, store.read(name)

    def read_records(self) -> float:
        """Bring the records' maps into memory."""
        return sum(float(record.tensor()[:, 0].sum()) for _, record in self.stored())

    def read_at_image_size(self) -> float:
        """Bring the records' maps into memory at the image's size."""
        return sum(
            float(plane[0].sum())
            for _, record in self.stored()
            for plane in maps_of(record).values()
        )

    def read_dictionaries(self) -> float:
        """Bring the dictionaries into memory."""
        return sum(
            float(plane[0].sum())
            for name in self.records
            for plane in self.dictionary(name).values()
        )

    def dictionary(self, name: str) -> Maps:
        """Read a dictionary, which is one of ours."""
        return np.load(self.folder / f'npy/{name}.npy', allow_pickle=True).item()


def in_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each, run in turns after one run to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in track(range(repeats + 1), 'Timed turns'):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def histogram_of(maps: Maps, mask: Tensor, num_classes: int) -> Tensor:
    """Count an image's pixels for the curve."""
    planes = [torch.from_numpy(plane) for plane in maps.values()]
    return seed_histogram(
        torch.stack(planes),
        tuple(maps),
        mask,
        THRESHOLDS,
        num_classes=num_classes,
        ignore_index=IGNORED,
    )


def curves(study: Study, masks: dict[str, str], num_classes: int) -> Tensor:
    """Return seed mIoU in points of records and of dictionaries, (2, thresholds)."""
    totals = torch.zeros((), dtype=torch.int64)
    for name, record in track(study.stored(), 'Curves', total=len(study.records)):
        mask = read_mask(masks[name], name, record)
        both = (maps_of(record), study.dictionary(name))
        totals = totals + torch.stack(
            [histogram_of(maps, mask, num_classes) for maps in both]
        )
    means = [class_rates(threshold_curve(total)).iou.mean(1) for total in totals]
    return torch.stack(means) * 100


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def main() -> None:
    """Write, read, measure, compare."""
    args = parse_arguments()
    config = config_with(args.config, args.cfg_options)
    images = load_tagged_images(config)
    masks = mask_paths(config, args.masks)
    names = [name for name in images.ids if name in masks][: args.images]
    model = load_classifier(config, args.checkpoint)
    predicted = predict_images(
        config, model, images, names, source=args.checkpoint, task='Maps'
    )
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), dict(predicted))
        writing = in_turns(
            dict(records=study.write_records, dictionaries=study.write_dictionaries),
            args.repeats,
        )
        reading = in_turns(
            dict(
                records=study.read_records,
                records_at_image_size=study.read_at_image_size,
                dictionaries=study.read_dictionaries,
            ),
            args.repeats,
        )
        size = {name: size_of(study.folder / name) for name in ('seeds', 'npy')}
        records, dictionaries = curves(study, masks, len(images.classes))
    gap = (records - dictionaries).abs()
    figures = dict(
        images=len(names),
        bytes_an_image={name: value / len(names) for name, value in size.items()},
        size_ratio=size['npy'] / size['seeds'],
        writing_seconds=writing,
        writing_ratio=writing['dictionaries'] / writing['records'],
        reading_seconds=reading,
        reading_ratio=reading['dictionaries'] / reading['records'],
        reading_ratio_at_image_size=(
            reading['dictionaries'] / reading['records_at_image_size']
        ),
        best_miou=dict(
            records=records.max().item(), dictionaries=dictionaries.max().item()
        ),
        largest_miou_difference=gap.max().item(),
        at_threshold=THRESHOLDS[gap.argmax()].item(),
    )
    text = json.dumps(figures, indent=1)
    print(text)
    if args.json:
        atomic_write_text(args.json, text + '\n')


if __name__ == '__main__':
    run_tool(main)
