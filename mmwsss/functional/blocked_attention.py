"""Attention with its head mean, a few heads at a time: what lies between stays small.

All heads' matrices together outgrow the caches, and fresh memory of that size costs
more than the arithmetic in it. Here one block of heads is worked off before the next,
forwards and backwards; between the passes only query, key and value are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_BYTES = 2 << 20
"""Memory of the matrices worked on at a time; about a core's share of the caches."""


def blocked_attend_with_head_mean(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float
) -> tuple[Tensor, Tensor]:
    r"""Attention output and the matrix averaged over heads, :math:`AV, \bar A`.

    The softmax and the mean are taken in float32 at least. Differentiable once.

    Args:
        query: (B, H, M, D), floating point.
        key: (B, H, N, D), of the same type.
        value: (B, H, N, E), of the same type.
        scale: Factor before the softmax.

    Returns:
        Output (B, H, M, E) of the inputs' type, laid out as (B, M, H, E), and head
        mean (B, M, N), float32 or float64.

    Example:
        >>> zeros, v = torch.zeros(1, 2, 2, 1), torch.tensor([1.0, 3.0])
        >>> output, mean = blocked_attend_with_head_mean(
        ...     zeros, zeros, v.view(1, 1, 2, 1).expand(1, 2, 2, 1), scale=1.0
        ... )
        >>> output[0, :, :, 0].tolist(), mean[0].tolist()
        ([[2.0, 2.0], [2.0, 2.0]], [[0.5, 0.5], [0.5, 0.5]])
    """
    return _BlockedAttention.apply(query, key, value, scale)


class _BlockedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(query, key, value)
        ctx.scale = scale
        ctx.set_materialize_grads(False)
        heads, exact = query.shape[1], torch.promote_types(query.dtype, torch.float32)
        output = _tokens_first((*query.shape[:3], value.shape[3]), value)
        mean = query.new_zeros((len(query), query.shape[2], key.shape[2]), dtype=exact)
        for block in _blocks(query, key):
            attention = _probabilities(query[block], key[block], scale)
            output[block] = attention.to(value.dtype) @ value[block]
            mean[block[0]] += attention.sum(1)
        return output, mean.div_(heads)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_output: Tensor | None, grad_mean: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = ctx.saved_tensors
        heads = query.shape[1]
        grads = [_tokens_first(part.shape, part) for part in (query, key, value)]
        if grad_mean is not None:
            grad_mean = grad_mean / heads
        for block in _blocks(query, key):
            q, k, v = (part[block] for part in (query, key, value))
            attention = _probabilities(q, k, ctx.scale)
            if grad_output is None:
                grad = torch.zeros_like(attention)
                grads[2][block] = 0
            else:
                update = grad_output[block].to(v.dtype)
                grad = (update @ v.mT).to(attention.dtype)
                grads[2][block] = attention.to(v.dtype).mT @ update
            if grad_mean is not None:
                grad += grad_mean[block[0], None]
            grad -= (grad * attention).sum(-1, keepdim=True)
            grad = grad.mul_(attention).mul_(ctx.scale).to(q.dtype)
            grads[0][block] = grad @ k
            grads[1][block] = grad.mT @ q
        return grads[0], grads[1], grads[2], None


def _probabilities(query: Tensor, key: Tensor, scale: float) -> Tensor:
    exact = torch.promote_types(query.dtype, torch.float32)
    return ((query * scale) @ key.mT).softmax(-1, dtype=exact)


def _tokens_first(shape: Sequence[int], like: Tensor) -> Tensor:
    """(B, H, N, D), uninitialized, laid out so that joining heads copies nothing."""
    batch, heads, tokens, width = shape
    return like.new_empty((batch, tokens, heads, width)).transpose(1, 2)


def _blocks(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield (images, heads) whose matrices fit ``BLOCK_BYTES`` together."""
    exact = torch.promote_types(query.dtype, torch.float32)
    heads = query.shape[1]
    fitting = BLOCK_BYTES // (query.shape[2] * key.shape[2] * exact.itemsize)
    images, step = max(1, fitting // heads), min(heads, max(1, fitting))
    for start in range(0, len(query), images):
        for first in range(0, heads, step):
            yield slice(start, start + images), slice(first, first + step)
