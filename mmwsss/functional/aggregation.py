"""Regional aggregation: context of each pixel from the prototypes of all classes."""

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape
from mmwsss.functional.vectors import full_precision, unit, widen


def prototype_affinity(
    query: Tensor,
    key: Tensor,
    ready: Tensor,
    *,
    scale: float = 1.0,
    unit_rows: bool = False,
) -> Tensor:
    r"""Weigh the prototypes for each pixel (RCA, eq. 7).

    .. math:: S = \mathrm{softmax}(s\,q k^\top)

    over the prototypes that are ready. Without any, all weights are 0.

    Args:
        query: (B, N, D), one row a pixel.
        key: (M, D), one row a prototype.
        ready: (M,) bool, prototypes that take part.
        scale: s, inverse temperature.
        unit_rows: Whether rows are made unit, so that directions are compared.

    Returns:
        (B, N, M) in [0, 1], float32 or wider; rows sum to 1, or to 0.

    Raises:
        ValueError: if the shapes disagree or ``ready`` is not bool.

    Example:
        >>> query, key = torch.zeros(1, 1, 2), torch.zeros(3, 2)
        >>> prototype_affinity(query, key, torch.tensor([True, False, True]))
        tensor([[[0.5000, 0.0000, 0.5000]]])
    """
    check_shape('query', query, ('B', 'N', 'D'))
    check_shape('key', key, ('M', query.shape[2]))
    check_shape('ready', ready, key.shape[:1])
    if ready.dtype != torch.bool:
        raise ValueError(f'ready: expected bool, got {ready.dtype}')
    prepare = unit if unit_rows else widen
    query, key = prepare(query), prepare(key)
    with full_precision(query):
        logits = scale * (query @ key.T)
    lowest = torch.finfo(logits.dtype).min
    weights = logits.masked_fill(~ready, lowest).softmax(2)
    return weights.masked_fill(~ready, 0)


def released_affinity(
    query: Tensor, key: Tensor, *, num_classes: int, num_prototypes: int
) -> Tensor:
    r"""Weigh the prototypes as the authors' release does, without a softmax.

    .. math:: S = q k^\top \cdot C / P

    Args:
        query: (B, N, D), one row a pixel.
        key: (M, D), one row a prototype.
        num_classes: C.
        num_prototypes: P, prototypes of each class.

    Returns:
        (B, N, M) in float32 or wider, any range.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> query, key = torch.tensor([[[2.0]]]), torch.tensor([[1.0], [3.0]])
        >>> released_affinity(query, key, num_classes=1, num_prototypes=2)
        tensor([[[1., 3.]]])
    """
    check_shape('query', query, ('B', 'N', 'D'))
    check_shape('key', key, ('M', query.shape[2]))
    query, key = widen(query), widen(key)
    with full_precision(query):
        return query @ key.T * (num_classes / num_prototypes)


def weighted_context(affinity: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Sum prototypes by their weights at each pixel (RCA, eq. 8): :math:`F' = S V`.

    Args:
        affinity: (B, N, M), pixels row-major.
        values: (M, D), one row a prototype.
        size: (H, W) with H W = N.

    Returns:
        (B, D, H, W) in float32 or wider.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> values = torch.tensor([[2.0], [4.0]])
        >>> weighted_context(torch.tensor([[[0.5, 0.5]]]), values, (1, 1))
        tensor([[[[3.]]]])
    """
    check_shape('affinity', affinity, ('B', size[0] * size[1], 'M'))
    check_shape('values', values, (affinity.shape[2], 'D'))
    with full_precision(affinity):
        context = widen(affinity) @ widen(values)
    return context.transpose(1, 2).unflatten(2, size)


def aggregate(
    features: Tensor,
    prototypes: Tensor,
    ready: Tensor,
    *,
    scale: float = 1.0,
    unit_rows: bool = False,
) -> Tensor:
    r"""Gather each pixel's context from the prototypes (RCA, eqs. 7 and 8).

    .. math:: F' = \mathrm{softmax}(s\,F Q^\top)\,Q

    Args:
        features: (B, D, H, W), any range.
        prototypes: (C, P, D); those of unready classes count for nothing.
        ready: (C,) bool, classes that take part.
        scale: s, inverse temperature.
        unit_rows: Whether the affinity compares directions; the context is summed
            from the prototypes as they are in any case.

    Returns:
        (B, D, H, W) of the features' type; 0 while no class is ready.

    Raises:
        ValueError: if the shapes disagree or ``ready`` is not bool.

    Example:
        >>> prototypes = torch.tensor([[[2.0], [4.0]]])
        >>> aggregate(torch.zeros(1, 1, 1, 2), prototypes, torch.tensor([True]))
        tensor([[[[3., 3.]]]])
    """
    check_shape('features', features, ('B', 'D', 'H', 'W'))
    check_shape('prototypes', prototypes, ('C', 'P', features.shape[1]))
    check_shape('ready', ready, prototypes.shape[:1])
    rows = prototypes.flatten(0, 1)
    affinity = prototype_affinity(
        features.flatten(2).transpose(1, 2),
        rows,
        ready.repeat_interleave(prototypes.shape[1]),
        scale=scale,
        unit_rows=unit_rows,
    )
    size = (features.shape[2], features.shape[3])
    return weighted_context(affinity, rows, size).to(features.dtype)
