"""ACR on the weights and images of a reference file, by the public code."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmwsss.functional.localization import BLOCK_MAP_KINDS
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.models.classifiers.acr_localizer import ACRLocalizer
from mmwsss.structures import WSSSDataSample

INPUT_PREFIXES = ('image', 'label', 'weight/')

# Settings that every acr_*.npz shares and none stores.
NUM_HEADS, PATCH_SIZE, STARTS, WEIGHT = 3, 16, (6, 10), 100.0
GRADIENT_BLOCKS = (0, 11)
BEHIND_LAST_BLOCK = ('norm.', 'head.')


def compute(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute logits, attentions, losses, gradients and maps.

    Args:
        inputs: ``image`` (B, 3, H, W), ``label`` (B, K) multi-hot, ``weight/*``.

    Returns:
        The other arrays of the file, under its keys.
    """
    images, labels = (torch.from_numpy(inputs[key]) for key in ('image', 'label'))
    model = build(inputs)
    samples = [WSSSDataSample().set_gt_label(row.nonzero()[:, 0]) for row in labels]
    arrays = both_views(model, images) | losses(model, images, samples)
    for start in STARTS:
        for kind in BLOCK_MAP_KINDS:
            for name, affinity in (('plain', False), ('affinity', True)):
                localizer = ACRLocalizer(
                    kind=kind, start_block=start, affinity=affinity
                )
                maps = tag_maps(model, localizer, images, labels)
                arrays[f'map/{kind}/start{start}/{name}'] = maps
    return {key: value.detach().numpy() for key, value in arrays.items()}


def build(inputs: dict[str, np.ndarray]) -> ACRClassifier:
    """Build the classifier whose weights the file holds."""
    state = {
        key.removeprefix('weight/'): torch.from_numpy(value)
        for key, value in inputs.items()
        if key.startswith('weight/')
    }
    depth = 1 + max(int(key.split('.')[1]) for key in state if 'blocks.' in key)
    arch = dict(
        embed_dim=state['cls_token'].shape[-1],
        depth=depth,
        num_heads=NUM_HEADS,
        patch_size=PATCH_SIZE,
    )
    model = ACRClassifier(
        len(state['cls_head.bias']),
        backbone=dict(
            type='AttentionViT', arch=arch, img_size=inputs['image'].shape[-1]
        ),
        view=dict(type='DihedralView', elements=('hflip',)),
        consistency=dict(type='AttentionConsistencyLoss', alpha=WEIGHT, beta=WEIGHT),
    )
    model.load_state_dict(
        {
            key if key.startswith('cls_head.') else f'backbone.vit.{key}': value
            for key, value in state.items()
            if not key.startswith(BEHIND_LAST_BLOCK)
        }
    )
    return model.to(torch.from_numpy(inputs['image']).dtype)


def both_views(model: ACRClassifier, images: Tensor) -> dict[str, Tensor]:
    """Logits and head-mean attention of the images and of their mirror images."""
    arrays = {}
    for view, batch in ((1, images), (2, images.flip(-1))):
        output = model.backbone(batch)
        arrays[f'logits_view{view}'] = model.cls_head(output.tokens[:, 0])
        arrays[f'attention_view{view}'] = torch.stack(output.attentions, 1)
    return arrays


def losses(
    model: ACRClassifier, images: Tensor, samples: list[WSSSDataSample]
) -> dict[str, Tensor]:
    """Unweighted losses, and two gradients of their weighted sum."""
    found = model.loss(images, samples)
    blocks = model.backbone.vit.blocks
    weights = [blocks[index].attn.qkv.weight for index in GRADIENT_BLOCKS]
    gradients = torch.autograd.grad(sum(found.values()), weights)
    return dict(
        loss_activation_l1=found['loss_activation'] / WEIGHT,
        loss_affinity_l1=found['loss_affinity'] / WEIGHT,
        loss_classification=found['loss_cls'] + found['loss_cls_view'],
    ) | {
        f'grad/blocks.{index}.attn.qkv.weight': gradient
        for index, gradient in zip(GRADIENT_BLOCKS, gradients)
    }


def tag_maps(
    model: ACRClassifier, localizer: ACRLocalizer, images: Tensor, labels: Tensor
) -> Tensor:
    """Maps (B, K, gh, gw) before normalization; zero for classes without a tag."""
    chosen = [row.nonzero()[:, 0] for row in labels]
    _, _, found = localizer.sum_views(
        model.backbone, model.cls_head, images, lambda _: chosen
    )
    maps = found.new_zeros((*labels.shape, *found.shape[-2:]))
    for image, (classes, planes) in enumerate(zip(chosen, found)):
        maps[image, classes] = planes[: len(classes)]
    return maps
