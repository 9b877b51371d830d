"""The models that are measured, and inputs for them; weights are drawn, not trained."""

from __future__ import annotations

import timm
import torch
from mmengine.registry import init_default_scope
from reference.acr import PlainACR
from torch import Tensor, nn

from mmwsss.models.classifiers import ACRClassifier
from mmwsss.structures import WSSSDataSample

CLASSES = 20
HYBRID = dict(arch='vit_base_r50_s16_384', img_size=384)
SMALL = dict(arch=dict(embed_dim=24, depth=12, num_heads=3, patch_size=16), img_size=64)


def acr(*, small: bool, device: torch.device, with_cp: bool = False) -> ACRClassifier:
    """Build ACR: ViT-hybrid-B at 384 pixels, or a small transformer."""
    init_default_scope('mmwsss')
    arch = SMALL if small else HYBRID
    backbone = dict(type='AttentionViT', **arch, with_cp=with_cp)
    model = ACRClassifier(
        CLASSES,
        backbone=backbone,
        view=dict(type='DihedralView', elements=('hflip',)),
    )
    return model.to(device).eval()


def plain_acr(model: ACRClassifier) -> PlainACR:
    """Return the plain reading on the model's own weights."""
    vit = model.backbone
    return PlainACR(vit.vit, model.cls_head, stride=vit.stride)


def stock_timm(*, small: bool, device: torch.device) -> nn.Module:
    """Build the same transformer as timm has it, with its own attention."""
    if small:
        arch = SMALL['arch'] | dict(img_size=SMALL['img_size'], num_classes=CLASSES)
        model = timm.models.vision_transformer.VisionTransformer(**arch)
    else:
        model = timm.create_model(HYBRID['arch'], num_classes=CLASSES)
    return model.to(device).eval()


def fill_memory(model: nn.Module) -> None:
    """Draw a full bank, if the model has one, and cluster it."""
    memory = getattr(model, 'memory', None)
    if memory is None:
        return
    generator = torch.Generator().manual_seed(3)
    memory.features.copy_(torch.randn(memory.features.shape, generator=generator))
    memory.count.fill_(memory.features.shape[1])
    if model.aggregation is not None:
        model.refresh_prototypes()


def images(count: int, *, small: bool, device: torch.device) -> Tensor:
    """Draw images (count, 3, H, W)."""
    side = (SMALL if small else HYBRID)['img_size']
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, side, side, generator=generator).to(device)


def tags(count: int, per_image: int, *, device: torch.device) -> list[Tensor]:
    """Draw the classes, ascending, of each image."""
    generator = torch.Generator().manual_seed(2)
    drawn = (torch.randperm(CLASSES, generator=generator) for _ in range(count))
    return [order[:per_image].sort().values.to(device) for order in drawn]


def samples(drawn: list[Tensor]) -> list[WSSSDataSample]:
    """Wrap tags as the product wants them."""
    return [
        WSSSDataSample(metainfo=dict(sample_idx=index)).set_gt_label(classes)
        for index, classes in enumerate(drawn)
    ]


def multi_hot(drawn: list[Tensor]) -> Tensor:
    """Return tags as (B, C), 0 or 1."""
    rows = [torch.zeros(CLASSES, device=classes.device) for classes in drawn]
    for row, classes in zip(rows, drawn):
        row[classes] = 1
    return torch.stack(rows)
