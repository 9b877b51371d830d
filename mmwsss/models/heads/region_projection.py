"""The space in which regions are compared."""

from __future__ import annotations

from torch import Tensor, nn

from mmwsss.registry import MODELS


@MODELS.register_module()
class RegionProjection(nn.Sequential):
    """3x3 convolution, batch normalization, relu, 3x3 convolution (RCA's release).

    Args:
        channels: Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Project features (B, D, h, w)."""
        return super().forward(features)
