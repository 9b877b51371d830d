"""Labels with a band of scores left undecided."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmwsss.functional.seeds import label_map


def label_with_band(
    scores: Tensor,
    classes: Sequence[int],
    *,
    background_threshold: float,
    foreground_threshold: float,
    ignore_index: int,
) -> Tensor:
    """Label pixels whose best score is low or high, leave those between undecided.

    Args:
        scores: (k, H, W) float32, one map a present class.
        classes: k ascending foreground classes, counted without the background.
        background_threshold: A best score up to this is background.
        foreground_threshold: A best score above this goes to its class; equal to the
            other threshold, nothing is undecided.
        ignore_index: Label of undecided pixels.

    Returns:
        (H, W) int64, 0 = background, class + 1, or ``ignore_index``.

    Raises:
        ValueError: if the foreground's threshold is below the background's, or
            ``scores`` is not (k, H, W) finite float32.

    Example:
        >>> scores = torch.tensor([[[0.1, 0.3, 0.8]], [[0.0, 0.2, 0.9]]])
        >>> band = dict(background_threshold=0.2, foreground_threshold=0.5)
        >>> label_with_band(scores, (3, 8), **band, ignore_index=255)
        tensor([[  0, 255,   9]])
    """
    if foreground_threshold < background_threshold:
        raise ValueError(
            f'foreground_threshold: expected >= background_threshold = '
            f'{background_threshold}, got {foreground_threshold}'
        )
    labels = label_map(scores, classes, foreground_threshold)
    if foreground_threshold == background_threshold:
        return labels
    possible = label_map(scores, classes, background_threshold) > 0
    return torch.where((labels == 0) & possible, ignore_index, labels)
