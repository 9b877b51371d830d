"""Labels with saliency as the cue of the background (RCA's release)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape


def saliency_label(
    scores: Tensor,
    classes: Sequence[int],
    saliency: Tensor,
    refined: Tensor | None = None,
    *,
    conflict: float = 0.9,
    salient: float = 32 / 255,
    certain: float = 0.8,
    least_share: float = 0.01,
    ignore_index: int,
) -> Tensor:
    r"""Label pixels by their best plane, the background's being 1 - saliency.

    :math:`y = \operatorname{argmax}(1 - s, m_1, \dots, m_k)`, of equal planes the
    first. Then undecided are pixels where more than one class is above ``conflict``,
    background that is salient, and background where a refined class is above
    ``certain``. An image left with too little foreground is undecided as a whole.

    Args:
        scores: (k, H, W) float32 in [0, 1], one map a present class.
        classes: k ascending foreground classes, counted without the background.
        saliency: (H, W) float32 in [0, 1].
        refined: (k, H, W), probabilities of the classes by a CRF; without them that
            part of the rule is left out.
        conflict: Two classes above this leave a pixel undecided.
        salient: Background is undecided from this saliency on.
        certain: Background is undecided where a class of ``refined`` exceeds this.
        least_share: Least share of foreground among all pixels, in [0, 1].
        ignore_index: Label of undecided pixels.

    Returns:
        (H, W) int64, 0 = background, class + 1, or ``ignore_index``.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> scores = torch.tensor([[[0.1, 0.3, 0.9]], [[0.0, 0.8, 0.95]]])
        >>> saliency = torch.tensor([[0.0, 0.5, 1.0]])
        >>> saliency_label(scores, (3, 8), saliency, ignore_index=255)
        tensor([[0, 9, 9]])
        >>> saliency_label(scores, (3, 8), saliency, conflict=0.85, ignore_index=255)
        tensor([[  0,   9, 255]])
    """
    check_shape('scores', scores, (len(classes), 'H', 'W'))
    check_shape('saliency', saliency, tuple(scores.shape[1:]))
    labels = torch.tensor([0, *(c + 1 for c in classes)], device=scores.device)
    found = labels[torch.cat([1 - saliency[None], scores]).argmax(0)]
    missed = saliency >= salient
    if refined is not None:
        check_shape('refined', refined, tuple(scores.shape))
        missed = missed | (refined > certain).any(0)
    undecided = ((scores > conflict).sum(0) > 1) | ((found == 0) & missed)
    found = torch.where(undecided, ignore_index, found)
    foreground = (found != 0) & ~undecided
    if int(foreground.sum()) < least_share * foreground.numel():
        return torch.full_like(found, ignore_index)
    return found
