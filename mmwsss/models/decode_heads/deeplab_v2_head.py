"""The decode head of DeepLabV2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

INITIALIZATION = dict(type='Normal', layer='Conv2d', std=0.01)
WITHOUT_EFFECT = ('channels', 'conv_cfg', 'norm_cfg', 'act_cfg')
"""Arguments of mmseg's base class for the layers that this head does not have."""


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Atrous spatial pyramid pooling straight to classes (DeepLabV2, ASPP-L).

    ``logits = sum_d conv_d(x)`` with one 3x3 convolution for each dilation d, each
    with a bias; no normalization, no activation and no hidden layer. mmseg's
    ``ASPPHead`` is DeepLabV3's.

    Args:
        in_channels: Channels of the feature map.
        num_classes: Classes, background included.
        dilations: One branch each.
        dropout_ratio: Dropout of whole channels before the branches.
        init_cfg: Initialization in place of DeepLabV2's.
        kwargs: Further arguments of ``BaseDecodeHead``, which rejects unknown ones.

    Raises:
        ConfigError: if there is no dilation, one is below 1, several feature maps
            are selected, or an argument is given that would have no effect here.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        *,
        num_classes: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        dropout_ratio: float = 0.0,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        _check_arguments(dilations, kwargs)
        super().__init__(
            in_channels,
            num_classes,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg or INITIALIZATION,
            **kwargs,
        )
        # Left in, its weights would get no gradient, which distributed training
        # refuses.
        del self.conv_seg
        self.branches = nn.ModuleList(
            nn.Conv2d(self.in_channels, self.out_channels, 3, padding=d, dilation=d)
            for d in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits (B, classes, h, w) of the selected map (B, C, h, w)."""
        features = self._transform_inputs(inputs)
        if self.dropout is not None:
            features = self.dropout(features)
        first, *others = self.branches
        logits = first(features)
        for branch in others:
            logits = logits + branch(features)
        return logits


def _check_arguments(dilations: Sequence[int], others: dict[str, Any]) -> None:
    if not dilations or min(dilations) < 1:
        raise ConfigError(
            f'dilations: expected one or more, each at least 1, got {tuple(dilations)}'
        )
    if unused := [name for name in WITHOUT_EFFECT if name in others]:
        raise ConfigError(
            f'DeepLabV2Head has nothing that {", ".join(unused)} would change; take '
            'it off decode_head'
        )
    if others.get('input_transform') == 'multiple_select':
        raise ConfigError(
            'DeepLabV2Head reads one feature map; use an integer in_index, or '
            "input_transform='resize_concat'"
        )
