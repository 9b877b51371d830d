"""timm's CNNs as backbones that give feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.models.backbones.feature_levels import FrozenParts, stack_levels
from mmwsss.models.backbones.norms import keep_statistics
from mmwsss.models.backbones.pretrained import (
    REFUSALS,
    create_timm,
    freeze_unreached,
)
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

PROBE_SIDE = 96
"""Pixels of the image that shows what a network gives."""


@MODELS.register_module()
class TimmCNN(BaseModule):
    """Feature levels of a timm CNN.

    Layers that no chosen level depends on are frozen: distributed training needs every
    parameter that wants a gradient to be used.

    Args:
        model_name: A timm CNN that offers ``features_only``.
        output_stride: Largest stride in pixels, by dilation; None is the network's own.
        out_indices: Which of its feature levels are returned; -1 is the last.
        pretrained: True fetches timm's official weights, a path reads them from a file
            in timm's format. They are loaded by ``init_weights``, so testing needs no
            network.
        args: Further arguments of ``timm.create_model``.
        norm_eval: Whether batch normalization keeps its running statistics.
        stacked: Whether the levels become one map, at the resolution of the first.
        frozen: Names of parts of the CNN that are not trained, ``('',)`` for all of it.
        init_cfg: mmengine's initialization, for checkpoints of this module.

    Raises:
        ConfigError: if timm has no such model, it refuses the arguments, does not give
            maps (B, D, h, w), no level is named, does not keep to ``output_stride``, or
            has no such part to freeze.
    """

    def __init__(
        self,
        model_name: str,
        *,
        output_stride: int | None = None,
        out_indices: Sequence[int] = (-1,),
        pretrained: bool | str = False,
        args: dict | None = None,
        norm_eval: bool = False,
        stacked: bool = False,
        frozen: Sequence[str] = (),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(out_indices, int) or not out_indices:
            raise ConfigError(
                f'out_indices: expected levels such as (-1,), got {out_indices!r}'
            )
        self.model_name, self.pretrained = model_name, pretrained
        self.norm_eval, self.stacked = norm_eval, stacked
        self.args = dict(args or {}, features_only=True, out_indices=list(out_indices))
        if output_stride is not None:
            self.args['output_stride'] = output_stride
        self.cnn = create_timm(model_name, pretrained=False, args=self.args)
        maps = self._probe()
        levels: Any = self.cnn.feature_info
        self.channels = tuple(levels.channels())
        self.strides = tuple(levels.reduction())
        if stacked:
            self.channels, self.strides = (sum(self.channels),), self.strides[:1]
        self.frozen = FrozenParts(self.cnn, frozen)
        found = max(ceil(PROBE_SIDE / level.shape[-1]) for level in maps)
        if output_stride is not None and found > output_stride:
            raise ConfigError(
                f'timm model {model_name!r} has stride {found} although '
                f'output_stride={output_stride}: it cannot be dilated; choose another '
                'model or take off output_stride'
            )

    def _probe(self) -> list[Tensor]:
        """Run one image, freeze what it did not need; return the maps."""
        self.cnn.eval()
        try:
            with torch.enable_grad():
                maps = self.cnn(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE))
        except REFUSALS as error:
            raise ConfigError(
                f'timm model {self.model_name!r} cannot run on images of any size: '
                f'{error}; choose a CNN'
            ) from error
        shapes = [tuple(level.shape) for level in maps]
        widths = [shape[1] if len(shape) == 4 else None for shape in shapes]
        levels: Any = self.cnn.feature_info
        if widths != levels.channels():
            raise ConfigError(
                f'TimmCNN needs maps (B, D, h, w); timm model {self.model_name!r} '
                f'gives {shapes}; choose a CNN'
            )
        freeze_unreached(self.cnn, maps)
        self.cnn.train()
        return maps

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, then load the weights asked for.

        Raises:
            CheckpointError: if they cannot be fetched or read, or do not fit.
        """
        super().init_weights()
        if self.pretrained:
            source = create_timm(
                self.model_name, pretrained=self.pretrained, args=self.args
            )
            self.cnn.load_state_dict(source.state_dict())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps (B, D, h, w), one a level, of images (B, 3, H, W), normalized."""
        levels = self.cnn(images)
        return (stack_levels(levels),) if self.stacked else tuple(levels)

    def train(self, mode: bool = True) -> TimmCNN:
        """Set the mode; with ``norm_eval`` batch normalization stays as in testing."""
        super().train(mode)
        if self.norm_eval:
            keep_statistics(self)
        self.frozen.keep()
        return self
