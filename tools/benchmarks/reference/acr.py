"""ACR as its equations read: every head's attention kept, one class, one flip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class Pass(NamedTuple):
    """A pass through the transformer, all with graph."""

    logits: Tensor
    """(B, C)."""
    attentions: list[Tensor]
    """One (B, H, N, N) a block, after softmax."""


class PlainACR:
    """A timm transformer and a linear head on its class token.

    Args:
        vit: The transformer; norm and head behind the last block are not used.
        head: Class token to logits.
        stride: Pixels along the side of a patch.
    """

    def __init__(self, vit: VisionTransformer, head: nn.Linear, *, stride: int) -> None:
        self.vit, self.head, self.stride = vit, head, stride

    def parameters(self) -> list[nn.Parameter]:
        """Return all weights."""
        return [*self.vit.parameters(), *self.head.parameters()]

    def run(self, images: Tensor) -> Pass:
        """Run images (B, 3, H, W) through all blocks."""
        vit = self.vit
        tokens = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
        attentions = []
        for block in vit.blocks:
            attn = block.attn
            batch, count, width = tokens.shape
            heads, size = attn.num_heads, width // attn.num_heads
            packed = attn.qkv(block.norm1(tokens))
            packed = packed.reshape(batch, count, 3, heads, size)
            query, key, value = packed.permute(2, 0, 3, 1, 4)
            attention = (query @ key.transpose(-2, -1) * size**-0.5).softmax(-1)
            attentions.append(attention)
            context = (attention @ value.to(attention.dtype)).transpose(1, 2)
            tokens = tokens + attn.proj(context.reshape(batch, count, width))
            tokens = tokens + block.mlp(block.norm2(tokens))
        return Pass(self.head(tokens[:, 0]), attentions)

    def maps(
        self, image: Tensor, classes: Sequence[int], *, start_block: int
    ) -> Tensor:
        """Gradient-weighted attention of the image and its mirror image, added.

        Args:
            image: (1, 3, H, W).
            classes: k classes.
            start_block: First block, from 0, whose gradients count.

        Returns:
            (k, gh, gw), before normalization.
        """
        rows, columns = (side // self.stride for side in image.shape[-2:])
        total = [torch.zeros(rows, columns, device=image.device) for _ in classes]
        for mirrored in (False, True):
            logits, attentions = self.run(image.flip(-1) if mirrored else image)
            for attention in attentions:
                attention.retain_grad()
            for position, index in enumerate(classes):
                values = self._map(logits, attentions, index, start_block)
                plane = values.view(rows, columns)
                total[position] = total[position] + (
                    plane.flip(-1) if mirrored else plane
                )
        return torch.stack(total)

    def _map(
        self, logits: Tensor, attentions: list[Tensor], index: int, start_block: int
    ) -> Tensor:
        for leaf in (*self.parameters(), *attentions):
            leaf.grad = None
        logits[0, index].backward(retain_graph=True)
        values, affinity = 0, 0
        for block, attention in enumerate(attentions):
            if block >= start_block:
                values = values + attention.grad[0].relu().mean(0)[0, 1:]
            affinity = affinity + attention.detach()[0].mean(0)[1:, 1:]
        return affinity @ values

    def loss(self, images: Tensor, targets: Tensor, *, weight: float) -> Tensor:
        """Loss of the images and their mirror images (ACR, eq. 6).

        Args:
            images: (B, 3, H, W).
            targets: (B, C), 0 or 1.
            weight: alpha and beta.

        Returns:
            Scalar.
        """
        first, second = self.run(images), self.run(images.flip(-1))
        order = _mirrored_tokens(images, self.stride)
        activation, affinity = 0, 0
        for one, two in zip(first.attentions, second.attentions):
            one, two = one.mean(1), two.mean(1)[:, order][:, :, order]
            activation = activation + (one[:, 0, 1:] - two[:, 0, 1:]).abs().mean()
            affinity = affinity + (one[:, 1:, 1:] - two[:, 1:, 1:]).abs().mean()
        blocks = len(first.attentions)
        return (
            F.multilabel_soft_margin_loss(first.logits, targets)
            + F.multilabel_soft_margin_loss(second.logits, targets)
            + weight * activation / blocks
            + weight * affinity / blocks
        )


def _mirrored_tokens(images: Tensor, stride: int) -> Tensor:
    rows, columns = (side // stride for side in images.shape[-2:])
    order = [0]
    for row in range(rows):
        order += [1 + row * columns + columns - 1 - column for column in range(columns)]
    return torch.tensor(order, device=images.device)
