"""Make seeds of masks, degraded on purpose: what refiners have to mend.

python tools/analysis/degraded_seeds.py data/VOCdevkit/VOC2012 --list train \\
    --images 600 --out work_dirs/refiner_gain/train --refiner type=densecrf \\
    preset=deeplabv2 background_threshold=0.2 foreground_threshold=0.4
Writes OUT/seeds, a store of seeds like those of a classifier, and with --refiner
OUT/labels and OUT/labels.json: labels of these seeds, with undecided pixels where the
refiner leaves some, that the networks of PSA and IRN learn from (tools/train.py with
train_dataloader.dataset.label_root=OUT). Stopped, the same command goes on.

The photographs lie in VOC's layout. LIST is a name below ImageSets/Segmentation or a
file; --images takes as many of it, evenly spaced.
"""

from __future__ import annotations

import zlib
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.apis.pseudo_labels import generate_labels
from mmwsss.apis.seed_masks import read_mask
from mmwsss.apis.seeds import TaggedImages
from mmwsss.datasets import VOCTagDataset
from mmwsss.datasets.transforms import LoadMask
from mmwsss.functional.localization import maps_to_image, min_max_normalize
from mmwsss.refiners import build_refiner
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.atomic import atomic_writer
from mmwsss.utils.config_files import OptionAction
from mmwsss.utils.digests import digest_file, digest_json
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.label_codec import IGNORED_LABEL
from mmwsss.utils.progress import track
from mmwsss.utils.randomness import counted_generator

LISTS = 'ImageSets/Segmentation'
SEEDS, SALIENCY = 0, 1
"""What a degraded mask is for; part of the key of its draws."""
SALIENCY_CELLS, SALIENCY_STRENGTH = 40, 0.5
SALIENCY_RANGE = (0.25, 0.75)
"""What becomes 0 and 1: saliency models answer nearly in black and white."""


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How much of a mask is lost.

    Args:
        cells: Cells along the image's long side.
        strength: Factor of all that follows; 0 leaves the averages of the cells.
        leak: Height of the halo around an object, of 1.
        halo: Steps of the blur that makes it.
        dim: Share that the parts far from the object's peak lose.
        reach: Distance from the peak at which they have lost 0.4 of that, in sides of
            a square of the object's size.
        noise: Standard deviation of the smooth noise.
        seed: Of all draws.

    Raises:
        ConfigError: if a value is not usable.
    """

    cells: int = 16
    strength: float = 1.0
    leak: float = 0.8
    halo: int = 6
    dim: float = 0.8
    reach: float = 0.4
    noise: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cells < 2 or self.strength < 0:
            raise ConfigError(
                'expected at least 2 cells and a strength >= 0, got '
                f'{self.cells} and {self.strength}'
            )


def blur(plane: Tensor, steps: int) -> Tensor:
    """Average with the neighbours by [1, 2, 1] / 4 both ways, some times.

    Args:
        plane: (h, w); beyond its border the outermost values repeat.
        steps: How many times.
    """
    kernel = plane.new_tensor([1.0, 2.0, 1.0]) / 4
    kernel = (kernel[:, None] * kernel)[None, None]
    plane = plane[None, None]
    for _ in range(steps):
        plane = F.conv2d(F.pad(plane, [1] * 4, mode='replicate'), kernel)
    return plane[0, 0]


def degrade(mask: Tensor, generator: torch.Generator, how: Degradation) -> Tensor:
    r"""Turn an object's mask into a map like a classifier's.

    Of the share a of each cell of a coarse grid that is in the mask

    .. math::
        x = b \, (1 - s d (1 - e^{-|p - q|^2 / 2 r^2})) + s l \, h + s \sigma n

    with the strength s, a once blurred b and many times blurred h (both of them a
    itself, or none, at strength 0), the peak q drawn among the cells by their
    :math:`b^2`, the reach r, and smooth noise n of standard deviation 1; then what is
    below 0 counts as 0, and the map is brought to [0, 1].

    Args:
        mask: (H, W) bool.
        generator: Of the draws.
        how: The settings.

    Returns:
        (h, w) in [0, 1).
    """
    height, width = mask.shape
    scale = how.cells / max(height, width)
    size = (max(2, round(height * scale)), max(2, round(width * scale)))
    share = F.adaptive_avg_pool2d(mask[None, None].float(), size)[0, 0]
    inner = blur(share, 1) if how.strength else share
    weights = inner.square().flatten().double()
    peak = int(torch.multinomial(weights + 1e-12, 1, generator=generator))
    rows, columns = torch.meshgrid(*map(torch.arange, size), indexing='ij')
    squares = (rows - peak // size[1]) ** 2 + (columns - peak % size[1]) ** 2
    reach = how.reach * max(1.0, float(share.sum())) ** 0.5
    far = 1 - torch.exp(-squares / (2 * reach**2))
    noise = blur(torch.randn(size, generator=generator), 2)
    noise = (noise - noise.mean()) / noise.std()
    found = inner * (1 - min(1.0, how.strength * how.dim) * far)
    found = found + how.strength * how.leak * blur(share, how.halo)
    return min_max_normalize((found + how.strength * how.noise * noise).relu())


def draws(how: Degradation, image_id: str, use: int, plane: int) -> torch.Generator:
    """Return the generator of a class of an image, whatever the others drew."""
    return counted_generator(how.seed, zlib.crc32(image_id.encode()), use, plane + 1)


def degraded_record(mask: Tensor, image_id: str, how: Degradation) -> SeedRecord:
    """Return the seeds of an image, one a class that its mask (H, W) holds."""
    present = [i for i in mask.unique().tolist() if i not in (0, IGNORED_LABEL)]
    planes = [
        degrade(mask == index, draws(how, image_id, SEEDS, index), how)
        for index in present
    ]
    size = tuple(mask.shape)
    return SeedRecord(
        maps=np.stack([plane.half().numpy() for plane in planes]),
        classes=tuple(index - 1 for index in present),
        input_shape=size,
        img_shape=size,
        ori_shape=size,
        align_corners=False,
    )


def load_photographs(
    root: str | Path, list_name: str, count: int | None = None
) -> tuple[TaggedImages, dict[str, str]]:
    """Return the images of a list in VOC's layout and the files of their masks by id.

    Images whose mask holds no object are left out.

    Args:
        root: Folder of ``JPEGImages``, ``SegmentationClass`` and ``ImageSets``.
        list_name: Name of a list there, or a file.
        count: How many at most, evenly spaced.

    Raises:
        DataError: if something is missing or unreadable.
    """
    named, own = f'{LISTS}/{list_name}.txt', str(Path(list_name).resolve())
    dataset = VOCTagDataset(
        ann_file=named if Path(root, named).is_file() else own,
        data_root=str(root),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=[],
    )
    total = len(dataset)
    wanted = min(total, count or total)
    records = [dataset.get_data_info(i * total // wanted) for i in range(wanted)]
    names = [dataset.image_id(record['img_path']) for record in records]
    tags = [
        [i - 1 for i in np.unique(LoadMask()(dict(record))['gt_seg_map']).tolist()]
        for record in track(records, 'Masks')
    ]
    tags = [[i for i in own if 0 <= i < IGNORED_LABEL - 1] for own in tags]
    kept = [n for n, own in enumerate(tags) if own]
    images = TaggedImages(
        dataset,
        [names[n] for n in kept],
        [records[n]['img_path'] for n in kept],
        [tags[n] for n in kept],
    )
    return images, {names[n]: records[n]['seg_map_path'] for n in kept}


def degraded_seeds(
    images: TaggedImages, masks: Mapping[str, str], folder: Path, how: Degradation
) -> ArtefactStore[SeedRecord]:
    """Make the seeds of all images; sound ones of an earlier run stay.

    Raises:
        ArtefactError: if the folder holds seeds of other masks or settings.
    """
    identity = dict(
        degradation=digest_json(asdict(how)),
        masks=digest_json({name: digest_file(masks[name]) for name in images.ids}),
    )
    store = ArtefactStore.create(folder, SeedCodec(), identity)
    paths = dict(zip(images.ids, images.paths))
    for name in track(store.pending(images.ids), 'Seeds'):
        mask = mask_of(masks[name], paths[name])
        store.write(name, degraded_record(mask, name, how))
    store.finish(images.ids)
    return store


def mask_of(path: str, image: str) -> Tensor:
    """Return a mask (H, W) int64 that lies beside its image."""
    with Image.open(image) as picture:
        size = (picture.height, picture.width)
    shape = SeedRecord(np.zeros((0, 2, 2)), (), size, size, size, False)
    return read_mask(path, image, shape)


def write_saliency(
    images: TaggedImages, masks: Mapping[str, str], folder: Path, how: Degradation
) -> None:
    """Write saliency maps: all objects of an image as one, degraded by other draws.

    They come from a finer grid at less strength, and with more contrast, since saliency
    models see edges that seeds do not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finer = replace(
        how,
        cells=max(how.cells, SALIENCY_CELLS),
        strength=how.strength * SALIENCY_STRENGTH,
    )
    low, high = SALIENCY_RANGE
    for name, path in track([*zip(images.ids, images.paths)], 'Saliency maps'):
        mask = mask_of(masks[name], path)
        objects = (mask > 0) & (mask != IGNORED_LABEL)
        found = degrade(objects, draws(how, name, SALIENCY, 0), finer)
        size = tuple(mask.shape)
        shapes = dict(input_shape=size, img_shape=size, ori_shape=size)
        plane = maps_to_image(found[None], **shapes, align_corners=False)[0]
        plane = ((plane - low) / (high - low)).clamp(0, 1)
        grey = (plane * np.iinfo(np.uint8).max).round().byte().numpy()
        with atomic_writer(folder / f'{name}.png', durable=False) as file:
            Image.fromarray(grey).save(file, format='PNG')


def add_degradation(parser: ArgumentParser) -> None:
    """Add the arguments of a degradation."""
    parser.add_argument('--cells', type=int, default=16, help='along the long side')
    parser.add_argument('--strength', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=0)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root', help="photographs and masks in VOC's layout")
    parser.add_argument('--list', required=True, help='images to take')
    parser.add_argument('--images', type=int, help='how many of them at most')
    parser.add_argument('--out', type=Path, required=True, help='folder to write')
    add_degradation(parser)
    parser.add_argument(
        '--refiner',
        nargs='+',
        action=OptionAction,
        help='settings of labels, key=value',
    )
    parser.add_argument('--jobs', type=int, default=1, help='processes that label')
    return parser.parse_args()


def main() -> None:
    """Make seeds, and labels where asked for."""
    args = parse_arguments()
    how = Degradation(cells=args.cells, strength=args.strength, seed=args.seed)
    refiner = build_refiner(args.refiner) if args.refiner else None
    images, masks = load_photographs(args.data_root, args.list, args.images)
    store = degraded_seeds(images, masks, args.out / 'seeds', how)
    print(f'{store.root}: seeds of {len(images.ids)} images')
    if refiner is not None:
        made = generate_labels(store, images, refiner, args.out, jobs=args.jobs)
        pixels = sum(made['pixels_per_class'].values()) + made['ignored_pixels']
        print(
            f'{args.out}: {made["num_images"]} labels by {made["refiner"]["type"]}, '
            f'{made["ignored_pixels"] / pixels:.1%} of pixels undecided'
        )


if __name__ == '__main__':
    run_tool(main)
