"""Small data where every segmentation config looks for them, small networks, tools."""

import hashlib
import json
import runpy
import shutil
import sys
from pathlib import Path

import mmseg
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import MODELS
from PIL import Image
from tiny_run import ROOT

from mmwsss.datasets import COCOTagDataset
from mmwsss.datasets.synthetic import (
    SYNTHETIC_METAINFO,
    SyntheticSettings,
    write_synthetic,
)
from mmwsss.models.backbones import resnet38
from mmwsss.structures.feature_record import FeatureCodec, FeatureRecord
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.label_codec import LabelCodec

SEGMENTORS = sorted((ROOT / 'configs/segmentation').glob('*.py'))
MMSEG_TOOLS = Path(mmseg.__file__).parent / '.mim/tools'
OUR_TOOLS = ROOT / 'tools'
VOC, COCO = PascalVOCDataset.METAINFO, COCOTagDataset.METAINFO
HEIGHT, WIDTH, BLOCK = 40, 48, 20
SIDE = 33
CHANNELS = 432
NARROWER = 32


def write_labels(root, masks, names, classes):
    """Make pseudo labels of masks, with their manifest."""
    (root / 'labels').mkdir(parents=True)
    pixels, images = np.zeros(256, int), {}
    for name in names:
        path = shutil.copy(masks / f'{name}.png', root / 'labels')
        pixels += np.bincount(np.array(Image.open(path)).ravel(), minlength=256)
        images[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    manifest = dict(
        classes=list(classes),
        num_images=len(images),
        pixels_per_class={n: int(p) for n, p in zip(classes, pixels)},
        ignored_pixels=int(pixels[255]),
        images=images,
    )
    (root / 'labels.json').write_text(json.dumps(manifest))


def read_split(data, split):
    return (data / f'ImageSets/Segmentation/{split}.txt').read_text().split()


def write_images(images, masks, names, metainfo):
    """Write photographs of a mask's colours; each mask shows every class."""
    codec, palette = LabelCodec(metainfo['palette']), np.array(metainfo['palette'])
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    blocks = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) // BLOCK
    for shift, name in enumerate(names):
        mask = ((blocks + shift) % len(palette)).astype(np.uint8)
        colours = (palette[mask] // 2 + 40).astype(np.uint8)
        Image.fromarray(colours).save(images / f'{name}.jpg', quality=95)
        mask[:, -2:] = 255
        (masks / f'{name}.png').write_bytes(codec.encode(mask))


def write_list(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{name}\n' for name in names))


def write_voc(place):
    data = place / 'data/VOCdevkit/VOC2012'
    names = [f'2007_{n:06}' for n in range(4)]
    masks = data / 'SegmentationClass'
    write_images(data / 'JPEGImages', masks, names, VOC)
    for split, part, folder in (
        ('train', names[:2], 'lite0_288'),
        ('val', names[2:], 'lite0_288_val'),
    ):
        write_list(data / f'ImageSets/Segmentation/{split}.txt', part)
        write_features(place / f'work_dirs/features/{folder}', part)
    for method in ('acr', 'rca'):
        labels = place / f'work_dirs/pseudo_labels/{method}_voc'
        write_labels(labels, masks, names[:2], VOC['classes'])


def write_features(folder, names):
    """Store features as those of the configs that read them, drawn at random."""
    store = ArtefactStore.create(folder, FeatureCodec(), dict(config='x'))
    shape = (2 * CHANNELS + 1, 4, 5)
    for seed, name in enumerate(names):
        pairs = np.random.default_rng(seed).normal(size=shape).astype(np.float16)
        pairs[-1] = np.linspace(-1, 1, shape[-1])
        store.write(name, FeatureRecord(pairs, (HEIGHT, WIDTH)))


def write_coco(place):
    data = place / 'data/coco2014'
    for split in ('train', 'val'):
        names = [f'COCO_{split}2014_{n:012}' for n in range(2)]
        masks = data / f'masks/{split}2014'
        write_images(data / f'{split}2014', masks, names, COCO)
        write_list(data / f'lists/{split}.txt', names)
        for method in ('acr', 'rca') if split == 'train' else ():
            labels = place / f'work_dirs/pseudo_labels/{method}_coco'
            write_labels(labels, masks, names, COCO['classes'])


def write_embedded(place, **counts):
    data = place / 'data/synthetic'
    write_synthetic(data, SyntheticSettings(**counts, size=48))
    write_labels(
        place / 'work_dirs/pseudo_labels/embedded',
        data / 'SegmentationClass',
        read_split(data, 'train'),
        SYNTHETIC_METAINFO['classes'],
    )


def small_options(path):
    """Return options under which a config trains its kind of network in a second."""
    name = Path(path).stem
    without_val = 'embedded' in name or 'cached' in name
    loaders = ('train', 'test') if without_val else ('train', 'val', 'test')
    options = {
        **{f'{n}_dataloader.num_workers': 0 for n in loaders},
        **{f'{n}_dataloader.persistent_workers': False for n in loaders},
        'train_dataloader.batch_size': 2,
        'train_cfg.max_iters': 1,
    }
    if 'cached' in name:
        return options
    options |= {
        'train_dataloader.dataset.pipeline.4.crop_size': (SIDE, SIDE),
        'model.data_preprocessor.size': (SIDE, SIDE),
    }
    if 'embedded' in name:
        return options
    if 'r101' in name:
        options |= {
            'model.backbone.depth': 50,
            'model.backbone.stem_channels': 2048 // NARROWER // 8,
            'model.backbone.base_channels': 64 // NARROWER,
            'model.backbone.init_cfg': None,
            'model.decode_head.in_channels': 2048 // NARROWER,
        }
    if 'deeplabv3plus' in name:
        options |= {
            'model.decode_head.channels': 8,
            'model.decode_head.c1_in_channels': 256 // NARROWER,
            'model.decode_head.c1_channels': 4,
            'model.auxiliary_head.in_channels': 1024 // NARROWER,
            'model.auxiliary_head.channels': 4,
        }
    if 'largefov' in name:
        options |= {
            'model.backbone.pretrained': False,
            'model.decode_head.channels': 8,
        }
    if 'resnet38' in name:
        options |= {'model.decode_head.in_channels': 4096 // NARROWER}
    return options


def narrow_resnet38(monkeypatch):
    """Divide the channels of ResNet38, which has no settings for them."""
    widths = ('inside', 'outside')
    for table in ('STAGES', 'BOTTLENECKS'):
        narrow = {
            stage: {
                key: value // NARROWER if key in widths else value
                for key, value in settings.items()
            }
            for stage, settings in getattr(resnet38, table).items()
        }
        monkeypatch.setattr(resnet38, table, narrow)


def as_options(options):
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def run_script(path, monkeypatch, *arguments):
    """Run a tool in this process as from a command line."""
    monkeypatch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name='__main__')


def figures_of(work_dir):
    """Read what the test of a work directory has written."""
    (path,) = Path(work_dir).glob('*/*.json')
    return json.loads(path.read_text())


def small_config(path):
    config = Config.fromfile(path)
    config.merge_from_dict(small_options(path))
    return config


def decided_checkpoint(path, file, *, seed=0):
    """Save random weights whose scores differ clearly from class to class."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(small_config(path).model)
    for weight in model.decode_head.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.3)
    torch.save(dict(state_dict=model.state_dict(), meta={}), file)
    return file
