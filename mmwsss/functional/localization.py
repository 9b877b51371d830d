"""Localization maps: from attention gradients or CAMs to the image's pixels."""

import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_area, check_shape
from mmwsss.functional.vectors import widen

BLOCK_MAP_KINDS = ('grad', 'grad_s', 'cam_grad', 'cam_grad_s')


def block_map(gradient: Tensor, attention: Tensor, kind: str) -> Tensor:
    r"""Gradient-weighted attention of one block (ACR, section 3.3).

    With :math:`G = \partial y_c / \partial A`, relu :math:`R` and the head mean
    :math:`\langle\cdot\rangle`:
    ``grad`` :math:`\langle R(G)\rangle`, ``grad_s`` :math:`\langle R(G)\rangle^2`,
    ``cam_grad`` :math:`\langle R(G \odot A)\rangle`,
    ``cam_grad_s`` :math:`\langle R(G \odot A)\rangle \odot \langle R(G)\rangle`.

    Args:
        gradient: (..., H, N), gradient of a class logit, per head.
        attention: (..., H, N), attention after softmax, per head, in [0, 1].
        kind: One of ``BLOCK_MAP_KINDS``.

    Returns:
        (..., N), >= 0.

    Raises:
        ValueError: if ``kind`` is unknown.

    Example:
        >>> import torch
        >>> g, a = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [0.5]])
        >>> [block_map(g, a, kind).item() for kind in BLOCK_MAP_KINDS]
        [1.0, 1.0, 0.5, 0.5]
    """
    if kind not in BLOCK_MAP_KINDS:
        raise ValueError(f'kind: expected one of {BLOCK_MAP_KINDS}, got {kind!r}')
    positive = gradient.relu().mean(-2)
    if kind == 'grad':
        return positive
    if kind == 'grad_s':
        return positive.square()
    weighted = (gradient * attention).relu().mean(-2)
    return weighted if kind == 'cam_grad' else weighted * positive


def refine_with_affinity(maps: Tensor, affinity: Tensor) -> Tensor:
    r"""Spread maps along the learned affinity (ACR, eq. 9): :math:`m \leftarrow S m`.

    Args:
        maps: (B, K, n), one value a patch.
        affinity: (B, n, n), head-mean patch-to-patch attention summed over blocks;
            row = the patch that receives.

    Returns:
        (B, K, n).

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> import torch
        >>> swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> refine_with_affinity(torch.tensor([[[3.0, 5.0]]]), swap)
        tensor([[[5., 3.]]])
    """
    check_shape('maps', maps, ('B', 'K', 'n'))
    check_shape('affinity', affinity, (maps.shape[0], maps.shape[2], maps.shape[2]))
    return maps @ affinity.transpose(1, 2)


def min_max_normalize(maps: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Bring each map to [0, 1]: :math:`(m - \min m) / (\max m - \min m + \epsilon)`.

    Args:
        maps: (..., h, w), any range; a constant map becomes 0.
        eps: Guards the division, in units of the map.

    Returns:
        (..., h, w) in [0, 1), float32 or wider: the difference of two numbers may
        exceed half precision.

    Raises:
        ValueError: if a map has no pixel.

    Example:
        >>> import torch
        >>> min_max_normalize(torch.tensor([[1.0, 3.0]]), eps=0.0)
        tensor([[0., 1.]])
    """
    check_area('maps', maps)
    maps = widen(maps)
    low = maps.amin((-2, -1), keepdim=True)
    return (maps - low) / (maps.amax((-2, -1), keepdim=True) - low + eps)


def max_normalize(maps: Tensor, eps: float = 1e-8) -> Tensor:
    r"""Bring CAMs to [0, 1]: :math:`R(m) / (\max R(m) + \epsilon)` (RCA, eq. 10).

    Args:
        maps: (..., h, w), any range; one without a positive value becomes 0.
        eps: Guards the division, in units of the map.

    Returns:
        (..., h, w) in [0, 1], float32 or wider; in half precision the guard is 0.

    Raises:
        ValueError: if a map has no pixel.

    Example:
        >>> import torch
        >>> max_normalize(torch.tensor([[-1.0, 1.0, 4.0]]))
        tensor([[0.0000, 0.2500, 1.0000]])
    """
    check_area('maps', maps)
    positive = widen(maps).relu()
    return positive / (positive.amax((-2, -1), keepdim=True) + eps)


def maps_to_image(
    maps: Tensor,
    *,
    input_shape: tuple[int, int],
    img_shape: tuple[int, int],
    ori_shape: tuple[int, int],
    align_corners: bool,
) -> Tensor:
    """Bring maps from the network's grid to the original image, in [0, 1].

    The grid is up-sampled bilinearly to the network input, the padding on the right
    and at the bottom is cut off, what remains is resized to the original image, and
    each map is min-max normalized there. Without padding the grid goes to the
    original size in one step.

    Args:
        maps: (K, h, w), any range.
        input_shape: (H, W) in pixels that the grid covers, padding included.
        img_shape: (H, W) in pixels of the image inside the network input.
        ori_shape: (H, W) in pixels of the image on disk.
        align_corners: Passed to the interpolation.

    Returns:
        (K, H, W) of size ``ori_shape`` in [0, 1).

    Raises:
        ValueError: if ``maps`` has not three axes or the image exceeds the input.

    Example:
        >>> import torch
        >>> size = dict(input_shape=(2, 2), img_shape=(2, 1), ori_shape=(2, 1))
        >>> maps_to_image(
        ...     torch.tensor([[[0.0, 9.0], [2.0, 9.0]]]), **size, align_corners=True
        ... ).round(decimals=4)
        tensor([[[0.],
                 [1.]]])
    """
    check_shape('maps', maps, ('K', 'h', 'w'))
    if img_shape[0] > input_shape[0] or img_shape[1] > input_shape[1]:
        raise ValueError(f'img_shape {img_shape} exceeds input_shape {input_shape}')
    if len(maps) == 0:
        return maps.new_zeros((0, *ori_shape))
    if tuple(img_shape) != tuple(input_shape):
        maps = _resize(maps, input_shape, align_corners)
        maps = maps[:, : img_shape[0], : img_shape[1]]
    return min_max_normalize(_resize(maps, ori_shape, align_corners))


def _resize(maps: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return F.interpolate(
        maps[None], size=tuple(size), mode='bilinear', align_corners=align_corners
    )[0]
