"""Small models, images and samples."""

import torch

from mmwsss.models.backbones import AttentionViT
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.structures import WSSSDataSample

PATCH, SIDE, CLASSES, DEPTH = 16, 64, 5, 4
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
