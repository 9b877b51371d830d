"""Small models, images and samples."""

import torch
from mmengine.model import BaseModule
from torch import nn

from mmwsss.models.backbones import AttentionViT
from mmwsss.models.classifiers import ACRClassifier, CAMClassifier, RCAClassifier
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample

PATCH, SIDE, CLASSES, DEPTH = 16, 64, 5, 4
CHANNELS = 6
ARCH = dict(embed_dim=24, depth=DEPTH, num_heads=3, patch_size=PATCH)


def redraw(model, *, seed=0, scale=0.3):
    """Draw all weights, so that none is zero and attention is far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_vit(**settings):
    settings = dict(arch=ARCH, img_size=SIDE) | settings
    return redraw(AttentionViT(**settings))


def tiny_acr(*, backbone=None, localization=None, num_classes=CLASSES, **settings):
    backbone = dict(type='AttentionViT', arch=ARCH, img_size=SIDE) | (backbone or {})
    localization = dict(start_block=DEPTH - 2) | (localization or {})
    model = ACRClassifier(
        num_classes, backbone=backbone, localization=localization, **settings
    )
    return redraw(model)


def images(count=2, height=SIDE, width=SIDE, *, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, height, width, generator=generator).to(dtype)


def sample(tags=None, **metainfo):
    made = WSSSDataSample(metainfo=metainfo)
    return made if tags is None else made.set_gt_label(tags)


@MODELS.register_module(force=True)
class TinyCNN(BaseModule):
    """One convolution at stride 4, in the form of OpenMMLab's backbones."""

    def __init__(self, channels=CHANNELS):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 4, stride=4)

    def forward(self, inputs):
        return (self.conv(inputs).relu(),)


def tiny_cam(**settings):
    head = dict(type='CAMHead', in_channels=CHANNELS, channels=8, num_convs=1)
    settings = dict(num_classes=CLASSES, backbone=dict(type='TinyCNN')) | settings
    return redraw(CAMClassifier(head=head, **settings))


def tiny_rca(**settings):
    """RCA whose bank takes every region from the first epoch on."""
    parts = dict(
        num_classes=CLASSES,
        channels=CHANNELS,
        backbone=dict(type='TinyCNN'),
        head=dict(type='CAMHead', channels=8, num_convs=1),
        memory=dict(type='RegionMemory', num_slots=4, score_gate=0.0),
        contrast=dict(type='RegionContrastLoss'),
        aggregation=dict(type='PrototypeAggregator', num_prototypes=2),
        contrast_from=0,
        aggregate_from=9,
    )
    return redraw(RCAClassifier(**(parts | settings)))
