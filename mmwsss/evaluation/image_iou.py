"""How well the label of one image fits its mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IGNORED_LABEL = 255


def image_iou(
    label: NDArray[np.integer],
    mask: NDArray[np.integer],
    *,
    ignore_index: int = IGNORED_LABEL,
) -> float | None:
    r"""Mean IoU of an image, over the classes in its label or its mask.

    :math:`\frac1{|K|} \sum_{k \in K} \frac{|L_k \cap M_k|}{|L_k \cup M_k|}` over the
    pixels that the mask judges, the background being one of the classes K. A class
    that the label invents counts 0, as one that it misses; an undecided pixel is
    missed. Unlike a data set's mIoU it compares images of unlike classes.

    Args:
        label: (H, W), 0 = background, ``ignore_index`` = undecided.
        mask: (H, W), likewise, ``ignore_index`` = not judged.
        ignore_index: See both.

    Returns:
        In [0, 1]; None if no pixel is judged.

    Raises:
        ValueError: if the sizes differ.
    """
    if label.shape != mask.shape:
        raise ValueError(
            f'label: expected (H, W) of the mask {mask.shape}, got {label.shape}'
        )
    judged = mask != ignore_index
    found, wanted = label[judged], mask[judged]
    if not wanted.size:
        return None
    classes = np.union1d(found, wanted)
    return float(
        np.mean(
            [
                _ratio(found == index, wanted == index)
                for index in classes[classes != ignore_index]
            ]
        )
    )


def _ratio(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    return float((found & wanted).sum() / (found | wanted).sum())
