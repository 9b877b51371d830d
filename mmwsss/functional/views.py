"""Geometric views of an image and the way back for its tokens and attention.

Tokens are row-major; attention matrices carry the class token at index 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_shape

Grid = tuple[int, int]

DIHEDRAL: dict[str, Callable[[Tensor], Tensor]] = {
    'identity': lambda x: x,
    'hflip': lambda x: x.flip(-1),
    'vflip': lambda x: x.flip(-2),
    'rot180': lambda x: x.flip(-2, -1),
    'transpose': lambda x: x.transpose(-2, -1),
    'antitranspose': lambda x: x.transpose(-2, -1).flip(-2, -1),
    'rot90': lambda x: x.rot90(1, (-2, -1)),
    'rot270': lambda x: x.rot90(3, (-2, -1)),
}
"""The dihedral group D4 by name; rotations turn counter-clockwise."""

TRANSPOSING = frozenset({'transpose', 'antitranspose', 'rot90', 'rot270'})
"""Elements of D4 that swap height and width."""

INVERSE = {name: name for name in DIHEDRAL} | {'rot90': 'rot270', 'rot270': 'rot90'}
"""Each element's inverse in D4."""


def apply_dihedral(images: Tensor, name: str) -> Tensor:
    """Apply one of the eight symmetries of the square to the last two axes.

    Args:
        images: (..., H, W).
        name: A key of ``DIHEDRAL``.

    Returns:
        (..., H, W), or (..., W, H) for the names in ``TRANSPOSING``.

    Raises:
        ValueError: if ``name`` is unknown.

    Example:
        >>> apply_dihedral(torch.tensor([[1, 2], [3, 4]]), 'rot90')
        tensor([[2, 4],
                [1, 3]])
    """
    if name not in DIHEDRAL:
        raise ValueError(f'view: expected one of {sorted(DIHEDRAL)}, got {name!r}')
    return DIHEDRAL[name](images)


def inverse_token_order(name: str, grid: Grid) -> Tensor:
    r"""Index that brings the tokens of a view back to the order of the image.

    With :math:`\pi` the order that the view gives to the patches, this is
    :math:`\pi^{-1}` behind the class token. It equals the permutation
    :math:`C^\top (P_w \otimes P_h^\top)` of ACR, eq. 12, for all of D4 and for
    non-square grids.

    Args:
        name: A key of ``DIHEDRAL``.
        grid: (gh, gw), patches of the image (not of the view).

    Returns:
        (1 + gh * gw,) int64; the class token keeps index 0.

    Raises:
        ValueError: if ``name`` is unknown.

    Example:
        >>> inverse_token_order('hflip', (1, 3))
        tensor([0, 3, 2, 1])
    """
    height, width = grid
    order = apply_dihedral(torch.arange(height * width).view(height, width), name)
    return torch.cat([torch.zeros(1, dtype=torch.int64), order.flatten().argsort() + 1])


def permute_attention(attention: Tensor, index: Tensor) -> Tensor:
    r"""Reorder rows and columns (ACR, eq. 12): :math:`A_{ij} = A'_{p(i)\,p(j)}`.

    Args:
        attention: (B, N, N).
        index: (N,), one order for the batch, or (B, N), one an image.

    Returns:
        (B, N, N).

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> swap = torch.tensor([1, 0])
        >>> permute_attention(torch.tensor([[[1, 2], [3, 4]]]), swap)
        tensor([[[4, 3],
                 [2, 1]]])
    """
    check_shape('attention', attention, ('B', 'N', 'N'))
    if index.ndim == 1:
        check_shape('index', index, (attention.shape[1],))
        return attention.index_select(1, index).index_select(2, index)
    check_shape('index', index, attention.shape[:2])
    batch = torch.arange(len(index), device=index.device)[:, None, None]
    return attention[batch, index[:, :, None], index[:, None, :]]


def token_resize_matrix(source: Grid, target: Grid) -> Tensor:
    """Bilinear interpolation between token grids as a matrix.

    Args:
        source: (gh, gw) of the tokens there are.
        target: (gh, gw) of the tokens wanted.

    Returns:
        (1 + target tokens, 1 + source tokens); rows sum to 1; the class token maps
        to itself.

    Example:
        >>> token_resize_matrix((1, 2), (1, 1))
        tensor([[1.0000, 0.0000, 0.0000],
                [0.0000, 0.5000, 0.5000]])
    """
    tokens = source[0] * source[1]
    basis = torch.eye(tokens).view(tokens, 1, *source)
    resized = F.interpolate(basis, size=target, mode='bilinear', align_corners=False)
    return torch.block_diag(torch.ones(1, 1), resized.flatten(1).T)


def resize_attention(attention: Tensor, source: Grid, target: Grid) -> Tensor:
    r"""Bring the attention of a resized view to the grid of the image.

    Both token axes are interpolated, :math:`E A' E^\top`, and rows are normalized to
    sum 1 again.

    Args:
        attention: (B, N', N') with N' = 1 + source tokens, rows sum to 1.
        source: (gh, gw) of the view.
        target: (gh, gw) of the image.

    Returns:
        (B, N, N) with N = 1 + target tokens, rows sum to 1.

    Raises:
        ValueError: if ``attention`` does not have the tokens of ``source``.

    Example:
        >>> uniform = torch.full((1, 5, 5), 0.2)
        >>> resize_attention(uniform, (2, 2), (1, 1))
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])
    """
    tokens = 1 + source[0] * source[1]
    check_shape('attention', attention, ('B', tokens, tokens))
    matrix = token_resize_matrix(source, target).to(attention)
    resized = matrix @ attention @ matrix.T
    return resized / resized.sum(-1, keepdim=True)
