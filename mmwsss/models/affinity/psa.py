"""AffinityNet, the network of PSA (Ahn and Kwak, CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.functional.affinity_pairs import feature_affinity
from mmwsss.models.affinity.base import AffinityNetwork
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

FEATURE_GAIN = 4.0
"""Scale of the first features, so that affinities start apart from 1 (release)."""


@MODELS.register_module()
class PSANetwork(AffinityNetwork):
    """Affinity from the distance of features of several levels (PSA, section 3.2).

    Each level of the backbone passes a 1x1 convolution and ELU; resized to the grid
    and joined, they pass a last one with ELU that keeps their channels. The affinity of
    a pair is that of ``feature_affinity``.

    Args:
        backbone: Config of a network that gives one map a level.
        in_channels: Channels of the levels (conv4, conv5 and conv6 of ResNet38).
        channels: Channels that each level is reduced to.
        stride: Side of a grid's cell in pixels.
        radius: Distance in cells below which pairs are taught and used.
        data_preprocessor: Config of the preprocessor.
        test_radius: Another radius for use.
        ignore_index: Label of undecided pixels.
        init_cfg: mmengine's initialization.

    Raises:
        ConfigError: if ``channels`` are not as many as ``in_channels``, or a number is
            not usable.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        in_channels: Sequence[int] = (512, 1024, 4096),
        channels: Sequence[int] = (64, 128, 256),
        stride: int = 8,
        radius: float = 5,
        data_preprocessor: dict | None = None,
        test_radius: float | None = None,
        ignore_index: int = 255,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            stride=stride,
            radius=radius,
            data_preprocessor=data_preprocessor,
            test_radius=test_radius,
            ignore_index=ignore_index,
            init_cfg=init_cfg,
        )
        self.in_channels = tuple(in_channels)
        if not in_channels or len(in_channels) != len(channels):
            raise ConfigError(
                'model: expected one number of channels and one of in_channels a '
                f'level, got {tuple(channels)} and {tuple(in_channels)}'
            )
        levels = [
            nn.Conv2d(width, reduced, 1, bias=False)
            for width, reduced in zip(in_channels, channels)
        ]
        for level in levels:
            nn.init.kaiming_normal_(level.weight)
        self.levels = nn.ModuleList(levels)
        self.join = nn.Conv2d(sum(channels), sum(channels), 1, bias=False)
        nn.init.xavier_uniform_(self.join.weight, gain=FEATURE_GAIN)

    def features(self, images: Tensor) -> Tensor:
        """Return features (B, D, h, w) on the grid of images (B, 3, H, W), normalized.

        D is the sum of ``channels``.

        Raises:
            ConfigError: if the backbone gives other levels than ``in_channels``.
        """
        maps = self.backbone(images)
        found = tuple(level.shape[1] for level in maps)
        if found != self.in_channels:
            raise ConfigError(
                f'model.backbone gives levels of {found} channels, model.in_channels '
                f'is {self.in_channels}; set it, or backbone.out_indices'
            )
        grid = [-(-side // self.stride) for side in images.shape[-2:]]
        reduced = [
            F.interpolate(
                F.elu(conv(level)), grid, mode='bilinear', align_corners=False
            )
            for conv, level in zip(self.levels, maps)
        ]
        return F.elu(self.join(torch.cat(reduced, 1)))

    def pair_affinity(
        self, images: Tensor, offsets: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return affinities (B, P, h, w) in [0, 1] of images (B, 3, H, W), normalized.

        Those of pairs with an outside cell are 0.
        """
        features = self.features(images)
        # distances of near features vanish in half precision
        precise = torch.promote_types(features.dtype, torch.float32)
        return feature_affinity(features.to(precise), offsets)
