"""IRN: affinities from a map of class boundaries, learned beside displacements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.functional.affinity_pairs import pair_affinity_loss
from mmwsss.functional.boundary_affinity import displacement_losses, path_affinity
from mmwsss.functional.refinement.random_walk import planes_on_grid, random_walk
from mmwsss.models.affinity.base import AffinityNetwork
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

CHANNELS_A_GROUP = 8
MOST_GROUPS = 16
"""How IRN normalizes: 8 channels a group until there are 16 groups."""


@MODELS.register_module()
class IRNetwork(AffinityNetwork):
    """Inter-pixel relation network, semantic part (Ahn, Cho and Kwak, CVPR 2019).

    All levels of a backbone give a map B of class boundaries; the affinity of two
    cells is 1 less the highest boundary on the path between them. Displacements to
    the object's centre are learned beside (section 4). Where they are used, in telling
    instances apart, IRN first takes off their mean over the images; nothing here needs
    it, so it is not kept.

    Args:
        backbone: Config of a network that gives a tuple of feature maps.
        in_channels: Channels of its levels, the finest first.
        strides: Their strides in pixels; levels finer than the grid are
            max-pooled to it.
        stride: Side of a grid's cell in pixels.
        radius: Distance in cells below which pairs are taught.
        test_radius: Distance below which affinities are given.
        boundary_channels: Channels of each level in the branch of the boundaries, a
            multiple of 8, as those of the other branch.
        displacement_channels: Channels of each level in the branch of displacements.
        fused_channels: Channels of levels put together there.
        freeze_backbone: Whether the backbone keeps its weights and the statistics of
            its batch normalization, as published; False to train one from scratch.
        flip: Whether boundaries are found in the image and its mirror image, as the
            mean before the sigmoid (the authors' release).
        data_preprocessor: Config of the preprocessor.
        ignore_index: Label of undecided pixels.
        init_cfg: mmengine's initialization.

    Raises:
        ConfigError: if the levels' settings are of different numbers, strides do not
            ascend, no level has the grid's stride or a finer one, or channels are no
            multiples of 8.
    """

    def __init__(
        self,
        *,
        backbone: dict,
        in_channels: Sequence[int],
        strides: Sequence[int],
        stride: int = 4,
        radius: float = 10,
        test_radius: float | None = 5,
        boundary_channels: int = 32,
        displacement_channels: Sequence[int] = (64, 128, 256, 256, 256),
        fused_channels: int = 256,
        freeze_backbone: bool = True,
        flip: bool = True,
        data_preprocessor: dict | None = None,
        ignore_index: int = 255,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            stride=stride,
            data_preprocessor=data_preprocessor,
            radius=radius,
            test_radius=test_radius,
            ignore_index=ignore_index,
            init_cfg=init_cfg,
        )
        _check_levels(in_channels, strides, displacement_channels, stride)
        self.in_channels, self.strides = tuple(in_channels), tuple(strides)
        self.freeze_backbone, self.flip = freeze_backbone, flip
        self.boundary_branch = BoundaryBranch(in_channels, width=boundary_channels)
        self.displacement_branch = DisplacementBranch(
            in_channels,
            [max(level, stride) for level in strides],
            widths=displacement_channels,
            fused=fused_channels,
        )
        if freeze_backbone:
            self.backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> IRNetwork:
        """Set the mode; a frozen backbone stays as in testing."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def levels(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's levels (B, D, h, w), none finer than the grid.

        Args:
            images: (B, 3, H, W), normalized.

        Raises:
            ConfigError: if they are not those of ``in_channels`` and ``strides``.
        """
        learning = torch.is_grad_enabled() and not self.freeze_backbone
        with torch.set_grad_enabled(learning):
            levels = self.backbone(images)
        found = [tuple(level.shape[1:]) for level in levels]
        expected = [
            (count, *_grid(images, stride))
            for count, stride in zip(self.in_channels, self.strides)
        ]
        if found != expected:
            raise ConfigError(
                f'model.in_channels and model.strides stand for levels {expected} of '
                f'images of {tuple(images.shape[-2:])}; the backbone gives {found}'
            )
        size = self.grid(images)
        return [
            F.adaptive_max_pool2d(level, size) if stride < self.stride else level
            for level, stride in zip(levels, self.strides)
        ]

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return height and width of the grid of images (B, 3, H, W)."""
        return _grid(images, self.stride)

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of the boundaries and, in two parts, of displacements.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: B samples with ``gt_sem_seg``.
        """
        levels, size = self.levels(inputs), self.grid(inputs)
        targets = self.targets(inputs, data_samples)
        boundary = _at_least_float32(self.boundary_branch(levels, size)).sigmoid()
        affinity = path_affinity(boundary, self.train_offsets)
        field = _at_least_float32(self.displacement_branch(levels))
        displacement = displacement_losses(field, targets, self.train_offsets)
        return dict(
            loss_boundary=2 * pair_affinity_loss(affinity, targets),
            loss_displacement_foreground=displacement.foreground,
            loss_displacement_background=displacement.background,
        )

    def boundary(self, images: Tensor) -> Tensor:
        """Return the probability (B, h, w) of a class boundary in each cell.

        Args:
            images: (B, 3, H, W), normalized.
        """
        size = self.grid(images)
        # whole cells: those of the mirror image are the image's own
        missing = [n * self.stride - m for n, m in zip(size, images.shape[-2:])]
        padded = F.pad(images, (0, missing[1], 0, missing[0]))
        found = self.boundary_branch(self.levels(padded), size)
        if self.flip:
            mirrored = self.boundary_branch(self.levels(padded.flip(-1)), size)
            found = (found + mirrored.flip(-1)) / 2
        return _at_least_float32(found).sigmoid()

    def pair_affinity(
        self, images: Tensor, offsets: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return affinities (B, P, h, w) in [0, 1] of images (B, 3, H, W)."""
        return path_affinity(self.boundary(images), offsets)

    def refine_planes(
        self, planes: Tensor, images: Tensor, *, exponent: float, steps: int
    ) -> Tensor:
        """Spread what planes have inside the boundaries, ``m * (1 - B)`` (section 5).

        Arguments and result as of ``AffinityNetwork.refine_planes``.
        """
        seeds = planes_on_grid(planes, self.stride)
        height, width = seeds.shape[1:]
        boundary = self.boundary(images)[:, :height, :width]
        return random_walk(
            seeds * (1 - boundary),
            path_affinity(boundary, self.offsets)[0],
            self.offsets,
            exponent=exponent,
            steps=steps,
        )


class Embedding(nn.Module):
    """A 1x1 convolution with group normalization, resized, then ReLU.

    Args:
        channels: Of the input.
        width: Of the output.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.GroupNorm(min(MOST_GROUPS, width // CHANNELS_A_GROUP), width)

    def forward(self, level: Tensor, size: tuple[int, int]) -> Tensor:
        """Map (B, channels, h, w) to (B, width, *size)."""
        return _resize(self.norm(self.conv(level)), size).relu()


class BoundaryBranch(nn.Module):
    """Levels, put beside one another on the grid, to a boundary.

    Args:
        channels: Of the levels.
        width: Channels that each is brought to.

    Raises:
        ConfigError: if ``width`` is no multiple of 8.
    """

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        super().__init__()
        _check_widths('boundary_channels', [width])
        self.embeddings = nn.ModuleList(Embedding(count, width) for count in channels)
        self.head = nn.Conv2d(width * len(channels), 1, 1)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (B, h, w) on a grid of ``size``."""
        parts = [embed(level, size) for embed, level in zip(self.embeddings, levels)]
        return self.head(torch.cat(parts, 1))[:, 0]


class DisplacementBranch(nn.Module):
    """Levels, put together from the coarsest down, to a field of displacements.

    Levels of one stride stand beside one another; each finer stride joins what the
    coarser ones gave, resized, and a 1x1 convolution puts them together.

    Args:
        channels: Of the levels, the finest first.
        strides: Of the levels.
        widths: Channels that each is brought to.
        fused: Channels of levels put together.

    Raises:
        ConfigError: if a width is no multiple of 8.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        widths: Sequence[int],
        fused: int,
    ) -> None:
        super().__init__()
        _check_widths('displacement_channels and fused_channels', [*widths, fused])
        self.embeddings = nn.ModuleList(map(Embedding, channels, widths))
        order = sorted(range(len(strides)), key=lambda i: -strides[i])
        self.groups = [list(g) for _, g in groupby(order, key=lambda i: strides[i])]
        sums = [sum(widths[i] for i in group) for group in self.groups]
        # the coarsest levels are put together with the next ones
        inputs = (
            [sums[0] + sums[1], *(fused + n for n in sums[2:])] if sums[1:] else sums
        )
        self.fusions = nn.ModuleList(Embedding(count, fused) for count in inputs)
        self.head = nn.Conv2d(fused, 2, 1, bias=False)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return displacements (B, 2, h, w), (dy, dx) in cells, on the finest grid."""
        sizes = [levels[group[0]].shape[-2:] for group in self.groups]
        parts: list[Tensor] = []
        fusions = iter(self.fusions)
        for index, (group, size) in enumerate(zip(self.groups, sizes)):
            own = [self.embeddings[i](levels[i], size) for i in group]
            joined = torch.cat([*own, *(_resize(part, size) for part in parts)], 1)
            whole = index == 0 and len(self.groups) > 1
            parts = [joined if whole else next(fusions)(joined, size)]
        return self.head(parts[0])


def _grid(images: Tensor, stride: int) -> tuple[int, int]:
    height, width = images.shape[-2:]
    return -(-height // stride), -(-width // stride)


def _at_least_float32(values: Tensor) -> Tensor:
    # half precision rounds probabilities near 1 to 1
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _resize(planes: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(planes.shape[-2:]) == tuple(size):
        return planes
    return F.interpolate(planes, size, mode='bilinear', align_corners=False)


def _check_levels(
    in_channels: Sequence[int],
    strides: Sequence[int],
    displacement_channels: Sequence[int],
    stride: int,
) -> None:
    counts = {len(in_channels), len(strides), len(displacement_channels)}
    if len(counts) > 1 or not in_channels:
        raise ConfigError(
            'model: in_channels, strides and displacement_channels say one number a '
            f'level of the backbone, got {tuple(in_channels)}, {tuple(strides)} and '
            f'{tuple(displacement_channels)}'
        )
    if list(strides) != sorted(strides) or strides[0] > stride:
        raise ConfigError(
            'model.strides: expected levels from fine to coarse, the first of a stride '
            f"up to the grid's {stride}, got {tuple(strides)}"
        )


def _check_widths(name: str, widths: Sequence[int]) -> None:
    wrong = [
        n
        for n in widths
        if n < CHANNELS_A_GROUP
        or n % CHANNELS_A_GROUP
        or n % min(MOST_GROUPS, n // CHANNELS_A_GROUP)
    ]
    if wrong:
        raise ConfigError(
            f'model.{name}: expected multiples of {CHANNELS_A_GROUP} (of {MOST_GROUPS} '
            f'from {MOST_GROUPS * CHANNELS_A_GROUP} on), got {wrong[0]}'
        )
