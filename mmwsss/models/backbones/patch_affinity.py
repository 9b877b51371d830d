"""Patch affinity, head-mean attention summed over blocks, as ACR's maps use it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor

from mmwsss.functional.attention import (
    attend_with_head_mean,
    attention_probabilities,
    spread_along_attention,
)
from mmwsss.functional.localization import refine_with_affinity
from mmwsss.models.backbones.timm_blocks import finish, project, run_block


class PatchAffinity(ABC):
    """Gathers the affinity of block after block, then spreads maps along the sum."""

    @staticmethod
    def for_device(device: torch.device) -> PatchAffinity:
        """Choose the faster way.

        On a CPU the sum of matrices is formed block of heads by block of heads, within
        the caches. On a GPU their traffic costs more than a second fused attention.
        """
        return SummedAffinity() if device.type == 'cpu' else ReplayedAffinity()

    @abstractmethod
    def run_block(self, block: Block, tokens: Tensor) -> Tensor:
        """Run a block without graph; tokens (B, 1 + n, E), class token first."""

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float
    ) -> Tensor:
        """Attend from patches (B, H, n, D) to all tokens (B, H, 1 + n, D)."""

    @abstractmethod
    def observe(self, query: Tensor, key: Tensor, *, scale: float) -> None:
        """Add the affinity of such a pair, where its output is not wanted."""

    @abstractmethod
    def spread(self, maps: Tensor) -> Tensor:
        """Spread maps (B, K, n) along the affinity of all blocks so far."""


class SummedAffinity(PatchAffinity):
    """Keeps the sum of matrices, (B, n, n)."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def _add(self, attention: Tensor) -> None:
        patches = attention.detach()[..., 1:]
        self.total = patches.clone() if self.total is None else self.total.add_(patches)

    def run_block(self, block: Block, tokens: Tensor) -> Tensor:
        """Run a block; add its attention."""
        tokens, attention = run_block(block, tokens)
        self._add(attention[:, 1:])
        return tokens

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float
    ) -> Tensor:
        """Attend; add the attention."""
        if not _needs_graph(query, key, value):
            output, attention = attend_with_head_mean(query, key, value, scale=scale)
            self._add(attention)
            return output
        # gradients of several classes at once need steps that autograd knows
        attention = attention_probabilities(query, key, scale=scale)
        self._add(attention.mean(1))
        return attention @ value

    def observe(self, query: Tensor, key: Tensor, *, scale: float) -> None:
        """Add the attention of the pair."""
        self.attend(query.detach(), key.detach(), key.detach()[..., :0], scale=scale)

    def spread(self, maps: Tensor) -> Tensor:
        """Multiply by the sum."""
        if self.total is None:
            return torch.zeros_like(maps)
        exact = torch.promote_types(maps.dtype, self.total.dtype)
        with torch.autocast(maps.device.type, enabled=False):
            return refine_with_affinity(maps.to(exact), self.total.to(exact))


class ReplayedAffinity(PatchAffinity):
    """Keeps each block's queries and keys; forms no matrix."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, float]] = []

    def run_block(self, block: Block, tokens: Tensor) -> Tensor:
        """Run a block with fused attention; keep its queries and keys."""
        query, key, value = project(block, tokens)
        scale = block.attn.scale
        self.observe(query[:, :, 1:], key, scale=scale)
        context = F.scaled_dot_product_attention(query, key, value, scale=scale)
        return finish(block, tokens, context)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float
    ) -> Tensor:
        """Attend; keep queries and keys."""
        self.observe(query, key, scale=scale)
        if _needs_graph(query, key, value):
            return attention_probabilities(query, key, scale=scale) @ value
        return F.scaled_dot_product_attention(query, key, value, scale=scale)

    def observe(self, query: Tensor, key: Tensor, *, scale: float) -> None:
        """Keep the pair."""
        self.pairs.append((query.detach(), key.detach(), scale))

    def spread(self, maps: Tensor) -> Tensor:
        """Attend once more in every block, from patches to the maps."""
        total = torch.zeros_like(maps)
        for query, key, scale in self.pairs:
            total += spread_along_attention(maps, query, key, scale=scale)
        return total


def _needs_graph(*parts: Tensor) -> bool:
    return torch.is_grad_enabled() and any(part.requires_grad for part in parts)
