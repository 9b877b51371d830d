"""Region memory: slots of each class, written in turn."""

import torch
from torch import Tensor

from mmwsss.functional.checks import check_shape


@torch.no_grad()
def write_regions_(
    features: Tensor,
    pointer: Tensor,
    count: Tensor,
    regions: Tensor,
    classes: Tensor,
    *,
    momentum: float,
) -> None:
    r"""Write regions into their classes' slots, in place (RCA, eq. 3).

    .. math:: m \leftarrow \gamma m + (1 - \gamma) f

    at the slot the class's pointer names; the pointer then advances and wraps. A slot
    never written before takes the region as it is. Rows are written in their order.

    Args:
        features: (C, L, D), the memory.
        pointer: (C,) int64 in [0, L), the slot written next.
        count: (C,) int64 in [0, L]; slots from here on were never written.
        regions: (R, D), any number of them, more than L of one class too.
        classes: (R,) int64 in [0, C).
        momentum: gamma in [0, 1].

    Raises:
        ValueError: if the shapes disagree or the momentum is out of range.

    Example:
        >>> memory, pointer, count = torch.zeros(1, 2, 1), *torch.zeros(2, 1).long()
        >>> rows, classes = torch.tensor([[4.0], [6.0], [8.0]]), torch.zeros(3).long()
        >>> write_regions_(memory, pointer, count, rows, classes, momentum=0.5)
        >>> memory.flatten(), pointer, count
        (tensor([6., 6.]), tensor([1]), tensor([2]))
    """
    check_shape('features', features, ('C', 'L', 'D'))
    num_classes, slots, channels = features.shape
    check_shape('pointer', pointer, (num_classes,))
    check_shape('count', count, (num_classes,))
    check_shape('regions', regions, ('R', channels))
    check_shape('classes', classes, regions.shape[:1])
    if not 0 <= momentum <= 1:
        raise ValueError(f'momentum: expected a value in [0, 1], got {momentum}')
    own = classes[:, None] == torch.arange(num_classes, device=classes.device)
    turn = own.cumsum(0).gather(1, classes[:, None]).squeeze(1) - 1
    slot = (pointer[classes] + turn) % slots
    # a slot written in an earlier round of this call counts as written
    written = (slot < count[classes]) | (turn >= slots)
    rows = regions.to(features.dtype)
    for now in _rounds(turn, slots):
        index = classes[now], slot[now]
        blended = momentum * features[index] + (1 - momentum) * rows[now]
        features[index] = torch.where(written[now, None], blended, rows[now])
    new = own.sum(0)
    pointer.add_(new).remainder_(slots)
    count.add_(new).clamp_(max=slots)


def _rounds(turn: Tensor, slots: int) -> list[Tensor]:
    """Positions (r,) of the rows of each round, within which no slot comes twice."""
    if len(turn) <= slots:
        # one round for certain: the device need not be asked
        return [torch.arange(len(turn), device=turn.device)]
    rounds = turn // slots
    return [(rounds == i).nonzero()[:, 0] for i in range(int(rounds.max()) + 1)]
