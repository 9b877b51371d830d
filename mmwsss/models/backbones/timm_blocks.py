"""Steps of a timm transformer block, cut where its attention can be seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import Attention, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmwsss.functional.attention import attend_with_head_mean
from mmwsss.utils.errors import ConfigError


def check_blocks(vit: VisionTransformer) -> None:
    """Check that the model is made of the parts whose attention can be read.

    Raises:
        ConfigError: if it is no ``VisionTransformer``, a block is not timm's plain
            one, attention is gated or has dropout, or the class token is not the only
            token beside the patches.
    """
    if not isinstance(vit, VisionTransformer):
        raise ConfigError(
            f"AttentionViT reads timm's VisionTransformer, not {type(vit).__name__}"
        )
    if vit.num_prefix_tokens != 1 or vit.cls_token is None:
        raise ConfigError(
            'AttentionViT needs exactly one token beside the patches, the class '
            f'token; this model has {vit.num_prefix_tokens} (distilled and register '
            'models do not fit: choose e.g. deit_small_patch16_224)'
        )
    for index, block in enumerate(vit.blocks):
        attention: Any = getattr(block, 'attn', None)
        if type(block) is not Block or type(attention) is not Attention:
            raise ConfigError(
                f'AttentionViT reads timm.Block with timm.Attention; block {index} is '
                f'{type(block).__name__} with {type(attention).__name__}'
            )
        # only newer timm has gates
        if getattr(attention, 'gate', None) is not None or attention.attn_drop.p:
            raise ConfigError(
                f'AttentionViT: block {index} has gated attention or attention '
                'dropout; set gated=False and attn_drop_rate=0'
            )


def project(block: Block, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value, (B, H, N, D) each, of tokens (B, N, H * D)."""
    attention = block.attn
    packed = _economic(lambda x: attention.qkv(block.norm1(x)), tokens)
    packed = packed.unflatten(-1, (3, attention.num_heads, attention.head_dim))
    query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)
    return attention.q_norm(query), attention.k_norm(key), value


def finish(block: Block, tokens: Tensor, context: Tensor) -> Tensor:
    """Add the projected attention output (B, H, N, D) and the MLP to the tokens."""
    attention = block.attn
    context = attention.norm(context.transpose(1, 2).flatten(2))
    update = attention.proj_drop(attention.proj(context))
    tokens = tokens + block.drop_path1(block.ls1(update))
    return tokens + block.drop_path2(block.ls2(_run_mlp(block, tokens)))


def _run_mlp(block: Block, tokens: Tensor) -> Tensor:
    mlp = block.mlp
    if type(mlp) is not Mlp or (mlp.training and (mlp.drop1.p or mlp.drop2.p)):
        return mlp(block.norm2(tokens))
    hidden = _economic(lambda x: mlp.fc1(block.norm2(x)), tokens)
    return _economic(lambda x: mlp.fc2(mlp.norm(mlp.act(x))), hidden)


def _economic(step: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """Run a cheap function and a linear layer; keep only what enters for gradients.

    The backward pass repeats the cheap function and stops before the layer's product.
    """
    if not tokens.requires_grad or not torch.is_grad_enabled():
        return step(tokens)
    return checkpoint(step, tokens, use_reentrant=False, preserve_rng_state=False)


def run_block(block: Block, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run a block; return its tokens (B, N, E) and head-mean attention (B, N, N)."""
    context, attention = attend_with_head_mean(
        *project(block, tokens), scale=block.attn.scale
    )
    return finish(block, tokens, context), attention
