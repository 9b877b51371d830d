"""The background's score, and labels that two scores of it agree on."""

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape


def background_by_power(maps: Tensor, alpha: float) -> Tensor:
    r"""Score the background by what the best class leaves of it (PSA, eq. 3).

    :math:`m_\mathrm{bg} = (1 - \max_c m_c)^\alpha`. A larger alpha makes a weaker
    background.

    Args:
        maps: (k, H, W) float in [0, 1], one a present class.
        alpha: Above 0 (RCA, supplement: 4; PSA: 4 for sure foreground, 16 or 32 for
            sure background).

    Returns:
        (1, H, W) in [0, 1]; 1 everywhere for an image without classes.

    Raises:
        ValueError: if ``maps`` has not three axes.

    Example:
        >>> maps = torch.tensor([[[0.0, 0.5]], [[0.25, 0.0]]])
        >>> background_by_power(maps, 2.0)
        tensor([[[0.5625, 0.2500]]])
    """
    check_shape('maps', maps, ('k', 'H', 'W'))
    # a plane of zeros stands for the classes of an image without any
    best = torch.cat([maps.new_zeros(1, *maps.shape[1:]), maps]).amax(0, keepdim=True)
    return (1 - best).pow(alpha)


def agreed_labels(strict: Tensor, lenient: Tensor, ignore_index: int) -> Tensor:
    """Keep the foreground of one label map and the background of another.

    Args:
        strict: (H, W) integer, 0 = background, made with a strong background: what
            is foreground here is sure to be.
        lenient: (H, W) integer, made with a weak background: what is background here
            is sure to be.
        ignore_index: Label of pixels that are neither.

    Returns:
        (H, W); foreground of ``strict`` holds also where ``lenient`` has background.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> agreed_labels(torch.tensor([[7, 0, 0]]), torch.tensor([[7, 7, 0]]), 255)
        tensor([[  7, 255,   0]])
    """
    check_shape('lenient', lenient, tuple(strict.shape))
    return torch.where((strict == 0) & (lenient != 0), ignore_index, strict)
