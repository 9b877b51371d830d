"""timm's vision transformers with their attention in view."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import timm
import torch
from mmengine.model import BaseModule
from timm.layers import HybridEmbed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmwsss.models.backbones.feature_levels import FrozenParts
from mmwsss.models.backbones.pretrained import create_timm, freeze_unreached
from mmwsss.models.backbones.stem import Stem
from mmwsss.models.backbones.timm_blocks import check_blocks, run_block
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError, DataError

UNUSED = ('norm.', 'fc_norm.', 'head.', 'head_dist.', 'pre_logits.')
"""Parts of timm's checkpoints behind the last block; ACR's logits come before."""


class ViTOutput(NamedTuple):
    """What one pass through the transformer gives."""

    tokens: Tensor
    """(B, N, E) after the last block, before any final norm; class token first."""
    attentions: list[Tensor]
    """One (B, N, N) a block: attention after softmax, mean over heads."""
    embedding: Tensor
    """(B, N, E) that entered the first block."""

    def halves(self) -> tuple[ViTOutput, ViTOutput]:
        """Split a pass over two batches of the same size, one behind the other."""
        tokens, embedding = self.tokens.chunk(2), self.embedding.chunk(2)
        attentions = [attention.chunk(2) for attention in self.attentions]
        first, second = (
            ViTOutput(tokens[i], [pair[i] for pair in attentions], embedding[i])
            for i in range(2)
        )
        return first, second


@MODELS.register_module()
class AttentionViT(BaseModule):
    """A timm ``VisionTransformer`` that returns each block's head-mean attention.

    Nothing of a pass is kept in the module. The final norm and head are dropped, as
    logits are read from the class token before them (every parameter is used, which
    distributed training needs; the layers of a stem behind its feature level are
    frozen).

    Args:
        arch: Name of a timm ViT (``vit_base_r50_s16_384``, ``deit_small_patch16_224``)
            or the arguments of ``VisionTransformer`` (``embed_dim``, ``depth``,
            ``num_heads``, ``patch_size``, ...).
        img_size: Side, or (H, W), in pixels that the position embedding is made for;
            other sizes are interpolated. None is the architecture's own.
        stem: A hybrid stem (timm's ``HybridEmbed``): the arguments of ``Stem``, a timm
            CNN's ``model_name`` for example.
        pretrained: True fetches timm's official weights, a path reads them from a file
            in timm's format. They are loaded by ``init_weights``, so testing needs
            no network.
        with_cp: Whether the backward pass runs blocks and stages of a hybrid stem
            once more, in place of keeping what is inside: less memory, more time. A
            stem with batch norm is kept whole, as it would count each batch twice.
        similarity_init: Temperature of attention that begins as the similarity of
            tokens, for transformers trained from scratch (not part of the paper, see
            ``similar_queries``); None leaves timm's random queries and keys.
        init_cfg: mmengine's initialization, for checkpoints of this module.

    Raises:
        ConfigError: if the architecture is unknown, its attention cannot be read,
            ``img_size`` is no multiple of the patch side, official weights are asked
            for an architecture that has no name, or ``similarity_init`` is not
            positive or would replace official weights.
    """

    def __init__(
        self,
        arch: str | dict,
        *,
        img_size: int | tuple[int, int] | None = None,
        stem: dict | None = None,
        pretrained: bool | str = False,
        with_cp: bool = False,
        similarity_init: float | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if similarity_init is not None and (similarity_init <= 0 or pretrained):
            raise ConfigError(
                'similarity_init: expected a positive temperature and no pretrained '
                f'transformer, got {similarity_init} and pretrained={pretrained!r}'
            )
        if pretrained and isinstance(arch, dict):
            raise ConfigError(
                'pretrained needs an arch with a name in timm; load weights of an arch '
                "given by arguments with init_cfg=dict(type='Pretrained', ...)"
            )
        self.arch, self.img_size = arch, img_size
        self.stem = Stem(**stem) if stem else None
        self.pretrained, self.with_cp = pretrained, with_cp
        self.similarity_init = similarity_init
        self.vit = self._create(pretrained=False, stem_pretrained=False)
        check_blocks(self.vit)
        if self.stem is not None:
            _freeze_unreached(self.vit.patch_embed)
            self.frozen = FrozenParts(self.vit.patch_embed.backbone, self.stem.frozen)
        if with_cp:
            _repeat_stem(self.vit.patch_embed)
        self.stride = _pixels_per_token(self.vit)
        self.embed_dim = self.vit.embed_dim
        self.depth = len(self.vit.blocks)
        for unused in ('norm', 'fc_norm', 'head'):
            setattr(self.vit, unused, nn.Identity())

    def _create(
        self, *, pretrained: bool | str, stem_pretrained: bool | str
    ) -> timm.models.VisionTransformer:
        args: dict = dict(dynamic_img_size=True, num_classes=0)
        if self.img_size is not None:
            args['img_size'] = self.img_size
        if self.stem is not None:
            backbone = self.stem.create(stem_pretrained)
            args.update(
                embed_layer=partial(HybridEmbed, backbone=backbone), patch_size=1
            )
            args.update(self.stem.input_channels())
        if isinstance(self.arch, dict):
            return timm.models.VisionTransformer(**(self.arch | args))
        return create_timm(self.arch, pretrained=pretrained, args=args)

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, then load official weights if asked for.

        Raises:
            CheckpointError: if the weights cannot be fetched or read.
        """
        super().init_weights()
        if self.similarity_init is not None:
            similar_queries(self.vit, temperature=self.similarity_init)
        stem_pretrained = self.stem.pretrained if self.stem else False
        if not (self.pretrained or stem_pretrained):
            return
        source = self._create(
            pretrained=self.pretrained, stem_pretrained=stem_pretrained
        )
        state = source.state_dict() if self.pretrained else {}
        if stem_pretrained:
            stem_state = source.patch_embed.backbone.state_dict()
            state |= {f'patch_embed.backbone.{k}': v for k, v in stem_state.items()}
        state = {k: v for k, v in state.items() if not k.startswith(UNUSED)}
        self.vit.load_state_dict(state, strict=bool(self.pretrained))

    def train(self, mode: bool = True) -> AttentionViT:
        """Set the mode; frozen parts of a stem stay as in testing."""
        super().train(mode)
        if self.stem is not None:
            self.frozen.keep()
        return self

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return (gh, gw), the patches of images (B, 3, H, W).

        Raises:
            DataError: if a side is not a multiple of the patch size.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise DataError(
                f'input of {height}x{width} pixels cannot be cut into patches of '
                f'{self.stride}: resize or pad both sides to a multiple of '
                f'{self.stride} (data_preprocessor.pad_size_divisor={self.stride})'
            )
        return height // self.stride, width // self.stride

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, 1 + gh * gw, E) that enter the first block."""
        self.grid(images)
        vit = self.vit
        tokens = vit.patch_drop(vit._pos_embed(vit.patch_embed(images)))
        return vit.norm_pre(tokens)

    def forward(self, images: Tensor) -> ViTOutput:
        """Run all blocks.

        Args:
            images: (B, 3, H, W), normalized, sides multiples of ``stride``.

        Returns:
            Tokens and attentions.

        Raises:
            DataError: if a side is not a multiple of ``stride``.
        """
        tokens = embedding = self.embed(images)
        attentions = []
        run = _repeated if self.with_cp and torch.is_grad_enabled() else run_block
        for block in self.vit.blocks:
            tokens, attention = run(block, tokens)
            attentions.append(attention)
        return ViTOutput(tokens, attentions, embedding)


@torch.no_grad()
def similar_queries(vit: timm.models.VisionTransformer, *, temperature: float) -> None:
    r"""Let attention begin as :math:`\mathrm{softmax}(\cos_{ij} / \tau)` of tokens.

    Queries and keys of every block become :math:`g` times its normalized tokens,
    without bias. A head of width d sees d of their entries, whose length is about
    :math:`\sqrt d`, so that its scaled product is :math:`g^2 \sqrt d \cos_{ij}`:
    :math:`g^2 = 1 / (\tau \sqrt d)`.

    Args:
        vit: The transformer; its values and projections stay.
        temperature: :math:`\tau > 0`.
    """
    for block in vit.blocks:
        attention = block.attn
        gain = (temperature * attention.head_dim**0.5) ** -0.5
        width = attention.qkv.in_features
        one = gain * torch.eye(width).to(attention.qkv.weight)
        attention.qkv.weight[: 2 * width] = torch.cat([one, one])
        if attention.qkv.bias is not None:
            attention.qkv.bias[: 2 * width] = 0


def _repeated(block: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run a block, and once more in the backward pass."""
    return checkpoint(run_block, block, tokens, use_reentrant=False)


def _repeat_stem(embed: nn.Module) -> None:
    """Have a hybrid stem's stages run once more in the backward pass."""
    counts = any(isinstance(part, _BatchNorm) for part in embed.modules())
    if isinstance(embed, HybridEmbed) and not counts:
        embed.set_grad_checkpointing()


def _freeze_unreached(embed: HybridEmbed) -> None:
    """Freeze the layers of a stem behind its feature level."""
    was_training = embed.training
    embed.eval()
    with torch.enable_grad():
        output = embed(torch.zeros(1, embed.in_chans, *embed.img_size))
    freeze_unreached(embed.backbone, [output])
    embed.train(was_training)


def _pixels_per_token(vit: timm.models.VisionTransformer) -> int:
    embed = vit.patch_embed
    rows, columns = embed.feat_ratio(as_scalar=False)
    if rows != columns:
        raise ConfigError(f'AttentionViT needs square patches, got {rows}x{columns}')
    height, width = embed.img_size
    if height % rows or width % rows:
        raise ConfigError(
            f'img_size: expected multiples of the patch side {rows}, got '
            f'{height}x{width}'
        )
    return rows
