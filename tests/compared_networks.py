"""Small networks of VOC's classes that can be compared: two of ACR, a segmentor."""

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pseudo_label_run import ROOT, write_checkpoint, write_config

from mmwsss.datasets import VOCTagDataset
from mmwsss.registry import MODELS

SEGMENTOR = """
_base_ = {base!r}
model = dict(decode_head=dict(num_classes=21))
"""


def write_networks(folder, voc_root):
    """Return (name, config, checkpoint) of two classifiers and a segmentor."""
    config = write_config(folder, voc_root)
    found = []
    for seed, name in enumerate(('first', 'second')):
        path = write_checkpoint(folder / f'{name}.pth', config, seed=seed)
        found.append((name, str(config), str(path)))
    return [*found, ('segmentor', *write_segmentor(folder))]


def write_segmentor(folder):
    base = str(ROOT / 'configs/segmentation/deeplabv2_embedded.py')
    config, weights = folder / 'segmentor.py', folder / 'segmentor.pth'
    config.write_text(SEGMENTOR.format(base=base))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(config).model)
    meta = dict(dataset_meta=VOCTagDataset.METAINFO)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), weights)
    return str(config), str(weights)
