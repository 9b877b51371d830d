"""Gradients of class logits with respect to the class token's attention.

ACR's maps use row 0 of :math:`\\partial y_c / \\partial A_t` alone, and that row is
:math:`(\\partial y_c / \\partial O_t)_0 V_t^\\top` with O the attention output. So the
blocks before the first one asked for run without autograd, and from there on the class
token is carried apart from the patches: with the last two blocks, the default, the
backward pass touches nothing but class tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor

from mmwsss.functional.attention import attention_probabilities
from mmwsss.models.backbones.attention_vit import AttentionViT
from mmwsss.models.backbones.patch_affinity import PatchAffinity
from mmwsss.models.backbones.timm_blocks import finish, project
from mmwsss.utils.errors import ConfigError


class ClassTokenGradients(NamedTuple):
    """Class rows of attention and their gradients, per block from the first asked."""

    logits: Tensor
    """(B, C)."""
    classes: Tensor
    """(B, K) int64, the classes whose logits were differentiated."""
    gradients: list[Tensor]
    """One (B, K, H, n) a block: gradient towards the patches."""
    attentions: list[Tensor]
    """One (B, 1, H, n) a block: attention of the class token to the patches."""
    affinity: PatchAffinity
    """Patch-to-patch head-mean attention, summed over all blocks."""


class _Row(NamedTuple):
    """The class token's part of one block's attention."""

    output: Tensor
    attention: Tensor
    value: Tensor


def class_token_gradients(
    vit: AttentionViT,
    images: Tensor,
    head: Callable[[Tensor], Tensor],
    select: Callable[[Tensor], Tensor],
    *,
    start_block: int,
    affinity: PatchAffinity | None = None,
) -> ClassTokenGradients:
    """Differentiate logits with respect to the class token's attention.

    Works inside ``torch.no_grad`` (not inside ``torch.inference_mode``).

    Args:
        vit: The transformer.
        images: (B, 3, H, W), normalized.
        head: Class token (B, E) after the last block to logits (B, C).
        select: Logits (B, C), without graph, to class indices (B, K) int64.
        start_block: First block, from 0, whose gradients are wanted.
        affinity: Gathers the patch affinity; None chooses by the device.

    Returns:
        Everything that ACR's maps are made of; without graph.

    Raises:
        ConfigError: if ``start_block`` is not a block of the transformer.
    """
    if not 0 <= start_block < vit.depth:
        raise ConfigError(
            f'start_block: expected 0..{vit.depth - 1} for {vit.depth} blocks, '
            f'got {start_block}'
        )
    affinity = affinity or PatchAffinity.for_device(images.device)
    with torch.no_grad():
        tokens = vit.embed(_in_fast_layout(images))
        for block in vit.vit.blocks[:start_block]:
            tokens = affinity.run_block(block, tokens)
    with torch.enable_grad():
        token, rows = _run_apart(vit.vit.blocks[start_block:], tokens, affinity)
        logits = head(token[:, 0])
    classes = select(logits.detach())
    output_gradients = _differentiate(logits, classes, [row.output for row in rows])
    return ClassTokenGradients(
        logits=logits.detach(),
        classes=classes,
        gradients=[
            (gradient @ row.value.detach().transpose(-2, -1)[:, None])[..., 0, 1:]
            for gradient, row in zip(output_gradients, rows)
        ],
        attentions=[row.attention.detach()[:, None, :, 0, 1:] for row in rows],
        affinity=affinity,
    )


def _in_fast_layout(images: Tensor) -> Tensor:
    """Channels last makes the stem's convolutions faster on CPUs."""
    if images.device.type != 'cpu':
        return images
    return images.contiguous(memory_format=torch.channels_last)


def _run_apart(
    blocks: list[Block], tokens: Tensor, affinity: PatchAffinity
) -> tuple[Tensor, list[_Row]]:
    """Run blocks with the class token apart."""
    token, patches = tokens[:, :1], tokens[:, 1:]
    rows: list[_Row] = []
    for block in blocks:
        scale = block.attn.scale
        token_query, token_key, token_value = project(block, token)
        with torch.set_grad_enabled(patches.requires_grad):
            query, patch_key, patch_value = project(block, patches)
        key = torch.cat([token_key, patch_key], 2)
        value = torch.cat([token_value, patch_value], 2)
        rows.append(_class_row(block, token_query, key, value, is_first=not rows))
        if block is blocks[-1]:
            # its patches reach no logit
            affinity.observe(query, key, scale=scale)
        else:
            with torch.set_grad_enabled(token.requires_grad):
                context = affinity.attend(query, key, value, scale=scale)
                patches = finish(block, patches, context)
        token = finish(block, token, rows[-1].output)
    return token, rows


def _class_row(
    block: Block, query: Tensor, key: Tensor, value: Tensor, *, is_first: bool
) -> _Row:
    attention = attention_probabilities(query, key, scale=block.attn.scale)
    output = attention @ value
    if is_first:
        output = output.detach().requires_grad_()
    return _Row(output, attention, value)


def _differentiate(
    logits: Tensor, classes: Tensor, outputs: list[Tensor]
) -> list[Tensor]:
    """Return (B, K, H, 1, D) for each output; class k of each image in one pass."""
    if classes.shape[1] == 0:
        return [
            output.new_zeros((len(output), 0, *output.shape[1:])) for output in outputs
        ]
    one_hot = F.one_hot(classes.T, logits.shape[1]).to(logits)
    gradients = torch.autograd.grad(logits, outputs, one_hot, is_grads_batched=True)
    return [gradient.transpose(0, 1) for gradient in gradients]
