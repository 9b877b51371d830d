"""The decode head of DeepLabV1 with a large field of view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import FCNHead
from torch import nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class LargeFOVHead(FCNHead):
    """DeepLab-LargeFOV on mmseg's ``FCNHead`` (Chen et al., ICLR 2015, section 4.3).

    A dilated 3x3 convolution (fc6), a 1x1 convolution (fc7), each with ReLU and
    dropout, and the classifier of ``FCNHead`` behind its own dropout.

    Args:
        in_channels: Channels of the feature map.
        channels: Channels of both convolutions.
        num_classes: Classes, background included.
        dilation: Of the 3x3 convolution.
        dropout_ratio: Of whole channels, behind each convolution.
        kwargs: Further arguments of ``FCNHead``, which rejects unknown ones.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int = 1024,
        *,
        num_classes: int,
        dilation: int = 12,
        dropout_ratio: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_classes=num_classes,
            num_convs=1,
            concat_input=False,
            dilation=dilation,
            dropout_ratio=dropout_ratio,
            **kwargs,
        )
        # fc7 takes fc6's place in front of the base class's dropout and classifier
        self.convs.append(nn.Dropout2d(dropout_ratio))
        self.convs.append(
            ConvModule(
                channels,
                channels,
                1,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                act_cfg=self.act_cfg,
            )
        )
