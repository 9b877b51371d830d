"""The curve of seeds as the field's scripts take it: one pass a threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def counts_at(
    scores: NDArray[np.float32],
    classes: Sequence[int],
    gt: NDArray[np.integer],
    threshold: float,
    *,
    num_classes: int,
    ignore_index: int,
    every_plane: bool,
) -> NDArray[np.int64]:
    """Label an image at one threshold and count its pixels.

    Args:
        scores: (k, H, W), of the classes present.
        classes: k foreground classes, counted without the background.
        gt: (H, W), 0 is the background.
        threshold: Score of the background.
        num_classes: C, background included.
        ignore_index: Label of pixels that are not judged.
        every_plane: Whether absent classes have a plane of zeros, as in scripts that
            read whole score arrays; otherwise only classes present are compared.

    Returns:
        (3, C): pixels labelled correctly, given to a class, of a class.
    """
    background = np.full((1, *gt.shape), threshold, np.float32)
    if every_plane:
        planes = np.zeros((num_classes - 1, *gt.shape), np.float32)
        planes[list(classes)] = scores
        labels = np.argmax(np.concatenate([background, planes]), 0)
    else:
        names = np.array([0, *(index + 1 for index in classes)])
        labels = names[np.argmax(np.concatenate([background, scores]), 0)]
    judged = gt != ignore_index
    truth, found = gt[judged], labels[judged]
    return np.stack(
        [
            np.bincount(part, minlength=num_classes)
            for part in (truth[truth == found], found, truth)
        ]
    )
