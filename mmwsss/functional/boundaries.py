"""Boundaries of label maps, and how far two maps agree on them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_shape


class BoundaryCounts(NamedTuple):
    """Boundary pixels of each class, all (K,) int64.

    Attributes:
        found: Judged ones of the label map.
        found_near: Those of them near the mask's boundary.
        true: Those of the mask.
        true_near: Those of them near the label map's boundary.
    """

    found: Tensor
    found_near: Tensor
    true: Tensor
    true_near: Tensor


def class_boundaries(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the pixels of each class with another label above, below or beside.

    The border of the image is no boundary.

    Args:
        labels: (H, W) integer.
        classes: K labels.

    Returns:
        (K, H, W) bool.

    Raises:
        ValueError: if ``labels`` has not two axes.

    Example:
        >>> class_boundaries(torch.tensor([[0, 0, 7, 7, 7]]), (0, 7)).int().tolist()
        [[[0, 1, 0, 0, 0]], [[0, 0, 1, 0, 0]]]
    """
    check_shape('labels', labels, ('H', 'W'))
    edge = torch.zeros_like(labels, dtype=torch.bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    values = torch.as_tensor(classes, device=labels.device, dtype=labels.dtype)
    return (labels == values[:, None, None]) & edge


def near(masks: Tensor, radius: float) -> Tensor:
    """Return the pixels at most ``radius`` from a pixel of the mask (Euclidean).

    Args:
        masks: (K, H, W) bool.
        radius: In pixels, >= 0.

    Returns:
        (K, H, W) bool.

    Raises:
        ValueError: if ``masks`` has not three axes or the radius is negative.

    Example:
        >>> near(torch.tensor([[[True, False, False, False]]]), 2.0).int().tolist()
        [[[1, 1, 1, 0]]]
    """
    check_shape('masks', masks, ('K', 'H', 'W'))
    if not radius >= 0:
        raise ValueError(f'radius: expected >= 0, got {radius}')
    height = masks.shape[1]
    reach = math.floor(radius)
    planes, total = masks.float(), torch.zeros_like(masks)
    for shift in range(min(reach, height - 1) + 1):
        # a disc is a stack of rows, each as wide as its distance leaves it
        width = math.floor(math.sqrt(radius**2 - shift**2))
        row = F.max_pool1d(planes, 2 * width + 1, stride=1, padding=width) > 0
        total[:, shift:] |= row[:, : height - shift]
        total[:, : height - shift] |= row[:, shift:]
    return total


def boundary_counts(
    labels: Tensor,
    mask: Tensor,
    classes: Sequence[int],
    *,
    radius: float,
    ignore_index: int,
) -> BoundaryCounts:
    """Count boundary pixels, and those within a distance of the other map's boundary.

    Undecided and ignored pixels belong to no class: where they begin a class ends. A
    boundary pixel of the labels on ignored ground, and not near a true one, is not
    judged.

    Args:
        labels: (H, W) integer.
        mask: (H, W) integer, the ground truth.
        classes: K classes, without ``ignore_index``.
        radius: Distance in pixels that counts as near.
        ignore_index: Label of pixels of ``mask`` that are not judged.

    Returns:
        Counts of each class.

    Raises:
        ValueError: if the shapes differ or the radius is negative.

    Example:
        >>> labels = torch.tensor([[0, 0, 0, 7, 7, 7]])
        >>> mask = torch.tensor([[0, 7, 7, 7, 7, 7]])
        >>> counts = boundary_counts(labels, mask, (7,), radius=2, ignore_index=255)
        >>> [int(count) for count in counts]
        [1, 1, 1, 1]
    """
    check_shape('mask', mask, tuple(labels.shape))
    found, true = class_boundaries(labels, classes), class_boundaries(mask, classes)
    found_near = found & near(true, radius)
    judged = found_near | (found & (mask != ignore_index))
    parts = (judged, found_near, true, true & near(found, radius))
    return BoundaryCounts(*(part.sum((1, 2)) for part in parts))


def boundary_f(counts: BoundaryCounts) -> Tensor:
    r"""Boundary F of each class (Csurka et al., BMVC 2013, section 3).

    :math:`F = 2 P R / (P + R)` with the precision :math:`P`, the share of found
    boundary pixels near a true one, and the recall :math:`R`, the share of true ones
    near a found one.

    Args:
        counts: Of one image, (K,) each.

    Returns:
        (K,) float64 in [0, 1]: 0 where one of the maps alone has a boundary, NaN where
        none has.

    Example:
        >>> counts = (torch.tensor([n, 0]) for n in (4, 2, 3, 3))
        >>> boundary_f(BoundaryCounts(*counts))
        tensor([0.6667,    nan], dtype=torch.float64)
    """
    found, found_near, true, true_near = (count.double() for count in counts)
    precision = found_near / found.clamp_min(1)
    recall = true_near / true.clamp_min(1)
    total = precision + recall
    score = 2 * precision * recall / torch.where(total > 0, total, 1)
    return torch.where(found + true > 0, score, torch.nan)
