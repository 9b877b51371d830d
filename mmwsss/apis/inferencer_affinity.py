"""What a transformer's attention joins to a point of an image (ACR, supplement)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmwsss.functional.localization import maps_to_image
from mmwsss.models.backbones import AttentionViT
from mmwsss.models.classifiers.base import describe
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import DataError

Point = tuple[float, float]


@torch.no_grad()
def affinity_of_point(
    backbone: AttentionViT,
    inputs: Tensor,
    sample: WSSSDataSample,
    point: Point,
    *,
    align_corners: bool,
) -> Tensor:
    r"""Return the row of the affinity matrix of the patch at a point, as a map.

    The matrix is the one that maps are spread along, :math:`S = \sum_t
    \bar A_t[1:, 1:]`, head-mean attention between patches summed over all blocks.

    Args:
        backbone: The transformer.
        inputs: (1, 3, H, W), normalized, padding on the right and at the bottom.
        sample: The image's, with ``img_shape`` and ``ori_shape``.
        point: (column, row) in pixels of the original image.
        align_corners: How the grid is up-sampled.

    Returns:
        (H, W) of the original image, min-max normalized to [0, 1).

    Raises:
        DataError: if the point lies outside the image.
    """
    grid = backbone.grid(inputs)
    img_shape, ori_shape = tuple(sample.img_shape[:2]), tuple(sample.ori_shape[:2])
    row, column = (
        _patch_of(*axis, stride=backbone.stride)
        for axis in zip(_inside(point, sample)[::-1], ori_shape, img_shape)
    )
    attentions = backbone(inputs).attentions
    index = row * grid[1] + column
    affinity = torch.stack([a[0, 1 + index, 1:].float() for a in attentions]).sum(0)
    return maps_to_image(
        affinity.reshape(1, *grid),
        input_shape=(inputs.shape[-2], inputs.shape[-1]),
        img_shape=img_shape,
        ori_shape=ori_shape,
        align_corners=align_corners,
    )[0]


def _inside(point: Point, sample: WSSSDataSample) -> Point:
    height, width = sample.ori_shape[:2]
    if not (0 <= point[0] < width and 0 <= point[1] < height):
        raise DataError(
            f'{describe(sample)}: the point {point[0]:g} {point[1]:g} (column, row) '
            f'lies outside; columns go from 0 to {width - 1}, rows from 0 to '
            f'{height - 1}'
        )
    return point


def _patch_of(place: float, original: int, size: int, *, stride: int) -> int:
    """Return the patch of a pixel along an axis."""
    return int((int(place) + 0.5) * size / original) // stride
