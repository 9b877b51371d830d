"""Figures of concept_figures.py that show trained networks at work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as SEG_MODELS
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from pipeline_report import PipelineReport, read_rgb
from torch import Tensor, nn

from mmwsss.apis.launch import check_fits
from mmwsss.apis.seeds import load_classifier, load_tagged_images
from mmwsss.datasets.synthetic.classes import CLASSES, ObjectClass
from mmwsss.datasets.synthetic.scenes import (
    PIXEL_NOISE,
    Pose,
    draw_object,
    mark_label,
    pixel_centres,
)
from mmwsss.datasets.synthetic.textures import TEXTURES, smooth_noise
from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.seeds import label_map
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.checkpoint import find_checkpoint
from mmwsss.utils.errors import DataError
from mmwsss.utils.label_codec import LabelCodec
from mmwsss.utils.randomness import counted_seed
from mmwsss.visualization.examples import Example, examples_figure
from mmwsss.visualization.panels import PANEL_INCHES, TITLE_SIZE, panels

SIZE = 96
ROWS = 2
CURVES = {'mIoU': 'mIoU', 'mFP': 'false positives', 'mFN': 'false negatives'}
PROTOCOLS = {'best': ':', 'gt_free': '--'}
PAIRS = (('torch', 'brush'), ('torch', 'beetle'))
SHOWN = ((PAIRS[0], False), (PAIRS[0], True), (PAIRS[1], True))
"""Pairs, and whether they touch, that are drawn."""
SCALE = 20.0
REAR = 0.97
"""From an object's centre to the end of its body, in its units."""
SCENES = 40
PERCENT = 100
DRAWS = 7
"""Separates these scenes' draws from the data set's."""


def chain_figures(folder: Path) -> dict[str, Figure]:
    """Return the figures that a finished pipeline can give, by name."""
    report = PipelineReport(folder, ROWS)
    curve = json.loads((folder / 'seeds' / 'seed_curve.json').read_text('utf-8'))
    threshold = curve['protocols']['best']['threshold']
    return {
        'chain': chain_figure(report, threshold),
        'seed_curve': curve_figure(curve),
        'together': together_figure(report, threshold),
    }


def chain_figure(report: PipelineReport, threshold: float) -> Figure:
    """Draw training images with two tags from their tags to the segmentor."""
    config, paint = report.configs['classifier'], report.painter
    images = load_tagged_images(config)
    folder = report.work_dir / 'labels'
    seeds = ArtefactStore.open(folder / 'seeds', SeedCodec())
    labels = ArtefactStore.open(folder / 'labels', LabelCodec(images.palette))
    segmentor = load_segmentor(report.configs['segmentor'], report.work_dir)
    rows = []
    for name, path in zip(images.ids, images.paths):
        record, image = seeds.read(name), read_rgb(path)
        if len(record.classes) != 2:
            continue
        pictures = (
            paint.image(image, record.classes),
            *paint.maps(image, record),
            paint.seeds(image, record, threshold),
            paint.labels('pseudo label', image, labels.read(name)),
            paint.labels('segmentor', image, segment(segmentor, image)),
        )
        rows.append(Example(name, paint.names(record.classes), pictures))
        if len(rows) == ROWS:
            return examples_figure(rows)
    raise DataError(f'{report.work_dir}: fewer than {ROWS} images have two tags')


def load_segmentor(config: Config, work_dir: Path) -> nn.Module:
    """Build the pipeline's segmentor with its weights, ready to predict."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = SEG_MODELS.build(config.model)
    checkpoint = str(find_checkpoint(work_dir / 'segmentor'))
    model.load_state_dict(check_fits(checkpoint, model, whole=True))
    return model.eval()


@torch.no_grad()
def segment(model: nn.Module, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label (H, W) of an image (H, W, 3) in RGB."""
    size = image.shape[:2]
    info = dict(ori_shape=size, img_shape=size, pad_shape=size)
    batch = dict(inputs=[as_input(image)], data_samples=[SegDataSample(metainfo=info)])
    with DefaultScope.overwrite_default_scope('mmseg'):
        (sample,) = model.test_step(batch)
    return sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)


def as_input(image: NDArray[np.uint8]) -> Tensor:
    """Return an image (H, W, 3) in RGB as networks read it: (3, H, W) in BGR."""
    return torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))


def curve_figure(curve: dict[str, Any]) -> Figure:
    """Draw mIoU, false positives and false negatives over the thresholds."""
    figure, grid = panels(1, 1)
    figure.set_size_inches(3 * PANEL_INCHES, 1.7 * PANEL_INCHES)
    axes = grid[0][0]
    for name, label in CURVES.items():
        axes.plot(curve['thresholds'], curve['curves'][name], label=label)
    for name, style in PROTOCOLS.items():
        found = curve['protocols'][name]
        label = f'{name}: {found["mIoU"]:.1f} at {found["threshold"]:g}'
        axes.axvline(found['threshold'], color='grey', linestyle=style, label=label)
    axes.set(xlabel='background threshold', ylabel='%', ylim=(0, 100), xlim=(0, 1))
    axes.set(xticks=np.linspace(0, 1, 6), yticks=range(0, 101, 20))
    axes.legend(fontsize=TITLE_SIZE)
    return figure


def scene_of(
    names: Sequence[str], number: int, *, touching: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one or two objects, two end to end or one above the other with room between.

    Args:
        names: Their classes.
        number: Of the scene; its draws depend on it alone.
        touching: Whether the ends of two bodies meet.

    Returns:
        Image (H, W, 3) and labels (H, W), 255 on outlines.
    """
    random = np.random.default_rng(counted_seed(DRAWS, number))
    middle, reach = SIZE / 2, REAR * SCALE
    texture = sorted(TEXTURES)[random.integers(len(TEXTURES))]
    canvas, points = TEXTURES[texture](SIZE, random), pixel_centres(SIZE)
    label = np.zeros((SIZE, SIZE), np.uint8)
    places = [(middle, SIZE / 4), (middle, 3 * SIZE / 4)]
    if touching:
        places = [(middle - reach, middle), (middle + reach, middle)]
    for name, place, angle in zip(names, places, (np.pi, 0.0)):
        item, pose = class_of(name), Pose(place, SCALE, angle)
        draw_object(canvas, item, pose, points, random)
        mark_label(label, item, CLASSES.index(item) + 1, pose, points)
    canvas *= 0.85 + 0.3 * smooth_noise(SIZE, 2, random)[..., None]
    canvas += PIXEL_NOISE * random.standard_normal(canvas.shape)
    return np.rint(255 * canvas.clip(0, 1)).astype(np.uint8), label


def class_of(name: str) -> ObjectClass:
    """Return the class of this name."""
    return next(item for item in CLASSES if item.name == name)


@torch.no_grad()
def localize(model: nn.Module, image: NDArray[np.uint8], tags: list[int]) -> SeedRecord:
    """Return a classifier's maps of the tags of an image (H, W, 3) in RGB."""
    size = image.shape[:2]
    sample = WSSSDataSample(metainfo=dict(ori_shape=size, img_shape=size))
    sample.set_gt_label(tags)
    batch = dict(inputs=[as_input(image)], data_samples=[sample])
    (found,) = model.test_step(batch)
    return SeedRecord.from_sample(found)


def together_figure(report: PipelineReport, threshold: float) -> Figure:
    """Draw pairs of objects; print the IoU of their seeds alone and together."""
    config, paint = report.configs['classifier'], report.painter
    checkpoint = str(find_checkpoint(report.work_dir / 'classifier'))
    model = load_classifier(config, checkpoint)
    for names in PAIRS:
        for scene in ([names[:1], False], [names[1:], False]):
            print_overlap('alone', model, threshold, *scene)
        for touching in (False, True):
            place = 'touching' if touching else 'apart'
            print_overlap(place, model, threshold, names, touching)
    rows = []
    for names, touching in SHOWN:
        image, label = scene_of(names, 0, touching=touching)
        record = localize(model, image, tags_of(names))
        pictures = (
            paint.image(image, record.classes),
            *paint.maps(image, record),
            paint.seeds(image, record, threshold),
            paint.labels('mask', image, label),
        )
        rows.append(Example('', paint.names(record.classes), pictures))
    return examples_figure(rows)


def tags_of(names: Sequence[str]) -> list[int]:
    """Return the foreground class indices of names, ascending."""
    return sorted(CLASSES.index(class_of(name)) for name in names)


def print_overlap(
    place: str, model: nn.Module, threshold: float, names: Sequence[str], touching: bool
) -> None:
    """Print the IoU of the seeds of objects over all scenes."""
    tags = tags_of(names)
    counts = np.zeros((len(tags), 2), np.int64)
    for number in range(SCENES):
        image, label = scene_of(names, number, touching=touching)
        counts += overlap(localize(model, image, tags), label, threshold)
    found = (
        f'{CLASSES[tag].name} {PERCENT * hit / union:.1f}'
        for tag, (hit, union) in zip(tags, counts)
    )
    print(f'IoU of seeds at {threshold:g}, {place}: {", ".join(found)}')


def overlap(
    record: SeedRecord, label: NDArray[np.uint8], threshold: float
) -> NDArray[np.int64]:
    """Return intersection and union of each tag's seeds, in pixels off outlines."""
    scores = maps_to_image(record.tensor(), **record.geometry())
    seeds = label_map(scores, record.classes, threshold).numpy()
    judged = label != 255
    found = []
    for tag in record.classes:
        ours, theirs = (seeds == tag + 1) & judged, label == tag + 1
        found.append([(ours & theirs).sum(), (ours | theirs).sum()])
    return np.array(found)
