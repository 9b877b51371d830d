"""Collectives that mmengine lacks: rows of unequal number, with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Tensor


def gather_rows(rows: Tensor, *, differentiable: bool = False) -> list[Tensor]:
    """Gather rows of which each process has its own number, also none.

    Each process must call it, and with ``differentiable`` its loss must depend on the
    result (``0 * sum`` is enough), because the way back is a collective too.

    Args:
        rows: (n, ...); axes behind the first and the dtype are the same everywhere.
        differentiable: Whether gradients flow back to the processes the rows came
            from. Each gets the sum of all processes' gradients, so that their average
            over processes, as by DDP, is the gradient of the average of the losses.

    Returns:
        One tensor (n_r, ...) a process, in order of rank; ``[rows]`` in a single one.
    """
    if get_world_size() == 1:
        return [rows]
    counts = _gather_counts(rows)
    if max(counts) == 0:
        return [rows[:0]] * len(counts)
    if not differentiable or not torch.is_grad_enabled():
        padded = _gather_padded(rows.detach(), max(counts))
    else:
        # a process without rows of its own must take part in the way back as well
        tracked = rows if rows.requires_grad else rows.detach().requires_grad_()
        padded = _GatherPadded.apply(tracked, max(counts))
    return [share[:count] for share, count in zip(padded, counts)]


def global_positions(count: int) -> Tensor:
    """Return the places (count,) of this process's images in the joint batch.

    mmengine's samplers deal images in turn, so that image i of process r among W is
    image ``i W + r`` of the batch a single process would have.
    """
    return torch.arange(count) * get_world_size() + get_rank()


def on_any_process(flag: bool) -> bool:
    """Tell whether a flag is set on any process; each must call it."""
    if get_world_size() == 1:
        return flag
    count = torch.tensor(int(flag))
    all_reduce(count)
    return bool(count)


def _gather_counts(rows: Tensor) -> list[int]:
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(count) for _ in range(get_world_size())]
    dist.all_gather(counts, count)
    return torch.cat(counts).tolist()


def _gather_padded(rows: Tensor, length: int) -> Tensor:
    """Gather (n, ...) as (W, length, ...), zero behind each process's own."""
    own = rows.new_zeros((length, *rows.shape[1:]))
    own[: len(rows)] = rows
    shares = [torch.empty_like(own) for _ in range(get_world_size())]
    dist.all_gather(shares, own)
    return torch.stack(shares)


class _GatherPadded(torch.autograd.Function):
    """``_gather_padded`` whose gradient is summed over processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, length: int) -> Tensor:
        ctx.count = len(rows)
        return _gather_padded(rows, length)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[get_rank(), : ctx.count], None
