"""Class maps from features by convolutions alone."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

INITIALIZATION = dict(
    type='Kaiming',
    layer='Conv2d',
    mode='fan_in',
    override=dict(type='Normal', name='classify', std=0.01),
)
"""Activations keep their scale at any width, and the first maps are near zero."""


@MODELS.register_module()
class CAMHead(BaseModule):
    """3x3 convolutions with ReLU, then a 1x1 convolution to one map a class (RCA, 2.4).

    Args:
        in_channels: Channels of the features.
        num_classes: Foreground classes.
        channels: Channels of the 3x3 convolutions.
        num_convs: How many 3x3 convolutions; 0 is the linear head of CAM.
        separate: A stack of its own for each class, as in RCA's release; they run as
            grouped convolutions in one pass.
        init_cfg: Initialization in place of the default.

    Raises:
        ConfigError: if a count is out of range, or ``separate`` is asked for without
            3x3 convolutions, where it changes nothing.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        channels: int = 512,
        num_convs: int = 3,
        separate: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or INITIALIZATION)
        if min(in_channels, num_classes, channels) < 1 or num_convs < 0:
            raise ConfigError(
                'CAMHead: in_channels, num_classes and channels must be positive and '
                f'num_convs at least 0, got {in_channels}, {num_classes}, {channels}, '
                f'{num_convs}'
            )
        if separate and not num_convs:
            raise ConfigError(
                'CAMHead: with num_convs=0 every class has its own weights anyway; '
                'take off separate'
            )
        self.in_channels, self.num_classes = in_channels, num_classes
        stacks = num_classes if separate else 1
        layers: list[nn.Module] = []
        width = in_channels
        for index in range(num_convs):
            groups = stacks if index else 1  # all stacks read the same features
            layers.append(
                nn.Conv2d(width, stacks * channels, 3, padding=1, groups=groups)
            )
            layers.append(nn.ReLU(inplace=True))
            width = stacks * channels
        self.convs = nn.Sequential(*layers)
        self.classify = nn.Conv2d(width, num_classes, 1, groups=stacks)

    def forward(self, features: Tensor) -> Tensor:
        """Return raw class maps (B, C, h, w) of features (B, D, h, w).

        Raises:
            ConfigError: if D is not ``in_channels``.
        """
        if features.shape[1] != self.in_channels:
            raise ConfigError(
                f'CAMHead: in_channels={self.in_channels}, but its features have '
                f'{features.shape[1]} channels; set in_channels={features.shape[1]} '
                'in the config of this head (model.head or model.coarse_head)'
            )
        return self.classify(self.convs(features))
