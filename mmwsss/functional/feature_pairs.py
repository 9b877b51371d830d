"""Features of an image and of its mirror image, in one array that can be mirrored."""

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape


def pair_features(plain: Tensor, mirrored: Tensor) -> Tensor:
    r"""Join the features of images with those of their mirror images.

    The result is :math:`[F(x), m(F(m(x))), u]` with m the mirror image and u the
    column's place, -1 on the left and 1 on the right. Mirrored as a whole, as an image
    is by a flip, it still tells which half the features of what is now seen are.

    Args:
        plain: (B, D, h, w), of the images.
        mirrored: (B, D, h, w), of the mirror images, as the network gave them.

    Returns:
        (B, 2 D + 1, h, w).

    Raises:
        ValueError: if the shapes differ or there is only one column.

    Example:
        >>> plain, mirrored = torch.tensor([[[[1.0, 2.0]]], [[[4.0, 3.0]]]]).split(1)
        >>> pair_features(plain, mirrored)[0, :, 0].tolist()
        [[1.0, 2.0], [3.0, 4.0], [-1.0, 1.0]]
    """
    check_shape('plain', plain, ('B', 'D', 'h', 'w'))
    check_shape('mirrored', mirrored, plain.shape)
    if plain.shape[-1] < 2:
        raise ValueError('plain: expected two columns or more, got one')
    place = torch.linspace(-1, 1, plain.shape[-1]).to(plain)
    place = place.expand(len(plain), 1, *plain.shape[-2:])
    return torch.cat([plain, mirrored.flip(-1), place], 1)


def pick_features(pairs: Tensor) -> Tensor:
    r"""Return the features of what is seen: the image, or its mirror image.

    The way back from :func:`pair_features`: of :math:`P` it gives :math:`F(x)`, of
    :math:`m(P)` it gives :math:`F(m(x))`. Pairs that are no features of images, zeros
    for example, count as unmirrored.

    Args:
        pairs: (B, 2 D + 1, h, w), each image mirrored or not.

    Returns:
        (B, D, h, w).

    Raises:
        ValueError: if the number of channels is even.

    Example:
        >>> pairs = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[-1.0, 1.0]]])[None]
        >>> pick_features(pairs).flatten().tolist()
        [1.0, 2.0]
        >>> pick_features(pairs.flip(-1)).flatten().tolist()
        [4.0, 3.0]
    """
    check_shape('pairs', pairs, ('B', 'D', 'h', 'w'))
    if pairs.shape[1] % 2 == 0:
        raise ValueError(f'pairs: expected 2 D + 1 channels, got {pairs.shape[1]}')
    plain, other = pairs[:, :-1].chunk(2, 1)
    mirrored = pairs[:, -1, 0, 0] > pairs[:, -1, 0, -1]
    return torch.where(mirrored.view(-1, 1, 1, 1), other, plain)
