"""Self-attention that shows its matrix, and distances between such matrices."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmwsss.functional.blocked_attention import blocked_attend_with_head_mean
from mmwsss.functional.checks import check_shape
from mmwsss.functional.vectors import unit

DISTANCES = {'l1': F.l1_loss, 'l2': F.mse_loss, 'smooth_l1': F.smooth_l1_loss}
"""Mean distances of ACR, table 2; ``l2`` is squared."""


def attention_probabilities(query: Tensor, key: Tensor, *, scale: float) -> Tensor:
    r"""Scaled dot-product attention: :math:`\mathrm{softmax}(s\,QK^\top)`.

    Args:
        query: (B, H, M, D).
        key: (B, H, N, D).
        scale: Factor s before the softmax.

    Returns:
        (B, H, M, N), rows sum to 1.

    Example:
        >>> import torch
        >>> zeros = torch.zeros(1, 1, 2, 4)
        >>> attention_probabilities(zeros, zeros, scale=0.5)[0, 0]
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    return ((query * scale) @ key.transpose(-2, -1)).softmax(-1)


def attend_with_head_mean(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    r"""Attention output and the matrix averaged over heads (ACR, eq. 4).

    :math:`O = AV` and :math:`\bar A = \frac1H \sum_h A_h`. The per-head matrices
    are recomputed in the backward pass, so that none outlives this call. Under
    autocast the products are taken in its type. Differentiable once.

    Args:
        query: (B, H, M, D).
        key: (B, H, N, D).
        value: (B, H, N, E).
        scale: Factor before the softmax.

    Returns:
        Output (B, H, M, E) and head mean (B, M, N), float32 at least, rows sum to 1.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> import torch
        >>> q = torch.zeros(1, 2, 2, 1)
        >>> v = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1).expand(1, 2, 2, 1)
        >>> output, mean = attend_with_head_mean(q, q, v, scale=1.0)
        >>> output[0, :, :, 0].tolist(), mean[0].tolist()
        ([[2.0, 2.0], [2.0, 2.0]], [[0.5, 0.5], [0.5, 0.5]])
    """
    check_shape('query', query, ('B', 'H', 'M', 'D'))
    check_shape('key', key, (*query.shape[:2], 'N', query.shape[3]))
    check_shape('value', value, (*key.shape[:3], 'E'))
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        lower = torch.get_autocast_dtype(kind)
        query, key, value = (part.to(lower) for part in (query, key, value))
    with torch.autocast(kind, enabled=False):
        way = blocked_attend_with_head_mean if kind == 'cpu' else recomputed_attend
        return way(query, key, value, scale=scale)


def recomputed_attend(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend as :func:`attend_with_head_mean`, all heads at once, on any device.

    Example:
        >>> q, v = torch.zeros(1, 1, 2, 1), torch.tensor([[[[1.0], [3.0]]]])
        >>> recomputed_attend(q, q, v, scale=1.0)[0].flatten()
        tensor([2., 2.])
    """
    if not any(part.requires_grad for part in (query, key, value)):
        return _attend(query, key, value, scale)
    return checkpoint(
        _attend, query, key, value, scale, use_reentrant=False, preserve_rng_state=False
    )


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    exact = torch.promote_types(query.dtype, torch.float32)
    attention = ((query * scale) @ key.transpose(-2, -1)).softmax(-1, dtype=exact)
    return attention.to(value.dtype) @ value, attention.mean(1)


def spread_along_attention(
    maps: Tensor, query: Tensor, key: Tensor, *, scale: float
) -> Tensor:
    r"""Spread maps along head-mean attention that is never formed.

    :math:`m \leftarrow \bar A_{1:,1:}\, m` with
    :math:`A = \mathrm{softmax}(s\,QK^\top)`: fused attention whose values are the
    maps, 0 at the class token.

    Args:
        maps: (B, K, n), one value a patch.
        query: (B, H, n, D), of the patches.
        key: (B, H, 1 + n, D), class token at index 0.
        scale: Factor s before the softmax.

    Returns:
        (B, K, n) of the type of ``maps``.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> key = torch.zeros(1, 1, 3, 4)
        >>> maps = torch.tensor([[[3.0, 6.0]]])
        >>> spread_along_attention(maps, key[:, :, 1:], key, scale=1.0)
        tensor([[[3., 3.]]])
    """
    check_shape('maps', maps, ('B', 'K', 'n'))
    batch, classes, patches = maps.shape
    check_shape('query', query, (batch, 'H', patches, 'D'))
    heads, width = query.shape[1], query.shape[3]
    check_shape('key', key, (batch, heads, 1 + patches, width))
    if classes == 0:
        return maps
    # kept near 1, where half precision is at its best
    peak = maps.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    spread = []
    # fused kernels want values as wide as keys
    for part in (maps / peak).split(width, 1):
        value = F.pad(part.mT, (0, width - part.shape[1], 1, 0)).to(query.dtype)
        value = value[:, None].expand(-1, heads, -1, -1)
        output = F.scaled_dot_product_attention(query, key, value, scale=scale)
        spread.append(output[..., : part.shape[1]].to(maps.dtype).mean(1).mT)
    return torch.cat(spread, 1) * peak


def attention_consistency(
    first: Sequence[Tensor], second: Sequence[Tensor], *, distance: str = 'l1'
) -> tuple[Tensor, Tensor]:
    r"""Activation and affinity consistency of two views (ACR, eq. 4 and 5).

    With :math:`\bar A_t` the head mean of block t and :math:`\bar A'_t` that of the
    second view in the token order of the first:
    :math:`L_{act} = \mathrm{mean}_{t,b,j}\,d(\bar A_t[0, j], \bar A'_t[0, j])` over
    patches j, and :math:`L_{aff}` the same mean over patch-to-patch pairs.

    Args:
        first: One (B, N, N) a block, class token at index 0, values in [0, 1].
        second: The same for the second view, after the inversion.
        distance: A key of ``DISTANCES``.

    Returns:
        Activation and affinity consistency, scalars >= 0.

    Raises:
        ValueError: if ``distance`` is unknown, there is no block, or shapes differ.

    Example:
        >>> import torch
        >>> a, b = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
        >>> a[0, 0, 1], a[0, 1, 2] = 1.0, 0.5
        >>> [loss.item() for loss in attention_consistency([a], [b])]
        [0.5, 0.125]
    """
    if distance not in DISTANCES:
        raise ValueError(
            f'distance: expected one of {sorted(DISTANCES)}, got {distance!r}'
        )
    if len(first) != len(second) or not first:
        raise ValueError(f'blocks: got {len(first)} of one view, {len(second)} of two')
    measure = DISTANCES[distance]
    activation = affinity = first[0].new_zeros(())
    for one, two in zip(first, second):
        check_shape('first', one, ('B', 'N', 'N'))
        check_shape('second', two, one.shape)
        activation = activation + measure(one[:, 0, 1:], two[:, 0, 1:])
        affinity = affinity + measure(one[:, 1:, 1:], two[:, 1:, 1:])
    return activation / len(first), affinity / len(first)


def feature_affinity(features: Tensor, *, temperature: float) -> Tensor:
    r"""Similarity of patches as attention: :math:`\mathrm{softmax}_j(\cos_{ij}/\tau)`.

    Args:
        features: (B, n, D), any scale.
        temperature: :math:`\tau > 0`; the smaller, the fewer patches count.

    Returns:
        (B, n, n), rows sum to 1; a patch without a direction resembles all alike.

    Raises:
        ValueError: if ``features`` has not three axes.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])
        >>> feature_affinity(features, temperature=0.1)
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])
    """
    check_shape('features', features, ('B', 'n', 'D'))
    rows = unit(features)
    return (rows @ rows.transpose(1, 2) / temperature).softmax(-1)


def attention_divergence(target: Tensor, attentions: Sequence[Tensor]) -> Tensor:
    r"""Divergence of patch attention from a target, mean over blocks, images and rows.

    :math:`\mathrm{KL}(T_i \,\|\, \hat A_{t,i})` with :math:`\hat A_t` the
    patch-to-patch part of block t's attention, rows normalized to sum 1. Attention
    that has vanished counts as the smallest normal number, so that the divergence
    stays finite.

    Args:
        target: (B, n, n), rows sum to 1.
        attentions: One (B, 1 + n, 1 + n) a block, class token at index 0, values >= 0.

    Returns:
        Scalar >= 0.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> import torch
        >>> target = torch.eye(2)[None]
        >>> attention_divergence(target, [torch.full((1, 3, 3), 1 / 3)])
        tensor(0.6931)
    """
    total = target.new_zeros(())
    for attention in attentions:
        tokens = target.shape[1] + 1
        check_shape('attention', attention, (len(target), tokens, tokens))
        smallest = torch.finfo(attention.dtype).tiny
        patches = attention[:, 1:, 1:].clamp_min(smallest)
        log_rows = (patches / patches.sum(-1, keepdim=True)).log()
        total = total + F.kl_div(log_rows, target, reduction='none').sum(-1).mean()
    return total / len(attentions)
