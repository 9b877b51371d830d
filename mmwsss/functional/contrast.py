"""Regional contrast: regions against a memory of regions of every class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.checks import check_shape
from mmwsss.functional.vectors import EPSILON, full_precision, unit, widen

REDUCTIONS = ('mean', 'sum')


def info_nce(
    queries: Tensor,
    classes: Tensor,
    bank: Tensor,
    valid: Tensor,
    *,
    temperature: float = 0.07,
) -> Tensor:
    r"""Contrast each region with the memory (RCA, eq. 4).

    With rows made unit, :math:`M_c` the valid rows of class c and :math:`M` all:

    .. math::
        \mathrm{NCE}(q, c) = \frac{1}{|M_c|} \sum_{p \in M_c} \log\Bigl(e^{qp/\tau}
        + \sum_{m \in M \setminus M_c} e^{qm/\tau}\Bigr) - qp/\tau

    Args:
        queries: (R, D), any length.
        classes: (R,) int64 in [0, C).
        bank: (C, L, D), any length.
        valid: (C, L) bool, rows that take part.
        temperature: tau > 0.

    Returns:
        (R,) >= 0 in float32 or wider; 0, without a gradient, for a region whose class
        has no valid row.

    Raises:
        ValueError: if shapes or types disagree, or the temperature is not positive.

    Example:
        >>> bank = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> valid = torch.ones(2, 1, dtype=torch.bool)
        >>> region, own = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> info_nce(region, own, bank, valid, temperature=1.0)  # log(1 + 1 / e)
        tensor([0.3133])
    """
    check_shape('queries', queries, ('R', 'D'))
    check_shape('classes', classes, queries.shape[:1])
    logits = _bank_logits(queries, bank, valid, temperature)
    return _nce(logits, _log_sums(logits, valid), classes, valid)


def mix_regions(regions: Tensor, partners: Tensor, omega: Tensor) -> Tensor:
    r"""Mix each region with its partner (RCA, eq. 5).

    .. math:: \hat f = \mathrm{unit}(\omega f + (1 - \omega) f')

    Args:
        regions: (R, D), any length.
        partners: (R, D), any length.
        omega: (R,) in [0, 1], share of ``regions``.

    Returns:
        (R, D) of length 1, in float32 or wider.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> one, other = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> mix_regions(one, other, torch.tensor([0.5]))
        tensor([[0.9487, 0.3162]])
    """
    check_shape('regions', regions, ('R', 'D'))
    check_shape('partners', partners, regions.shape)
    check_shape('omega', omega, regions.shape[:1])
    share = omega[:, None].to(torch.promote_types(regions.dtype, torch.float32))
    return unit(share * regions + (1 - share) * partners)


def mixup_nce(
    regions: Tensor,
    classes: Tensor,
    partners: Tensor,
    partner_classes: Tensor,
    omega: Tensor,
    bank: Tensor,
    valid: Tensor,
    *,
    temperature: float = 0.07,
) -> Tensor:
    r"""Contrast each mixed region with both of its classes (RCA, eq. 6).

    .. math:: \omega\,\mathrm{NCE}(\hat f, c) + (1 - \omega)\,\mathrm{NCE}(\hat f, c')

    Both parts carry a gradient and share the similarities to the memory. With
    ``omega`` 1 this is ``info_nce`` of the region itself.

    Args:
        regions: (R, D), any length.
        classes: (R,) int64 in [0, C).
        partners: (R, D), any length.
        partner_classes: (R,) int64 in [0, C).
        omega: (R,) in [0, 1], share of ``regions``.
        bank: (C, L, D), any length.
        valid: (C, L) bool, rows that take part.
        temperature: tau > 0.

    Returns:
        (R,) >= 0 in float32 or wider.

    Raises:
        ValueError: if shapes or types disagree, or the temperature is not positive.

    Example:
        >>> bank, valid = torch.eye(2)[:, None], torch.ones(2, 1, dtype=torch.bool)
        >>> region, partner = torch.eye(2).split(1)
        >>> half = torch.tensor([0.5])
        >>> own, other = torch.tensor([0]), torch.tensor([1])
        >>> mixup_nce(region, own, partner, other, half, bank, valid)  # log 2
        tensor([0.6931])
    """
    check_shape('classes', classes, regions.shape[:1])
    check_shape('partner_classes', partner_classes, regions.shape[:1])
    mixed = mix_regions(regions, partners, omega)
    logits = _bank_logits(mixed, bank, valid, temperature)
    sums = _log_sums(logits, valid)
    own = _nce(logits, sums, classes, valid)
    other = _nce(logits, sums, partner_classes, valid)
    share = omega.to(own.dtype)
    return share * own + (1 - share) * other


def average_over_images(
    losses: Tensor, images: Tensor, *, num_images: int, reduction: str = 'mean'
) -> Tensor:
    """Average over the classes of each image, then over the images.

    Args:
        losses: (R,), one value a region.
        images: (R,) int64, the region's image.
        num_images: Images of the batch, those without a region included.
        reduction: ``mean`` over images, or their ``sum``, which grows with the batch.

    Returns:
        Scalar; 0 without regions.

    Raises:
        ValueError: if the shapes disagree, ``num_images`` is below 1 or ``reduction``
            is unknown.

    Example:
        >>> losses, images = torch.tensor([1.0, 3.0, 4.0]), torch.tensor([0, 0, 2])
        >>> average_over_images(losses, images, num_images=3)  # (2 + 0 + 4) / 3
        tensor(2.)
    """
    check_shape('losses', losses, ('R',))
    check_shape('images', images, losses.shape)
    if num_images < 1:
        raise ValueError(f'num_images: expected 1 or more, got {num_images}')
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction: expected one of {REDUCTIONS}, got {reduction!r}')
    regions_of_image = (images[:, None] == images[None]).sum(1)
    total = (losses / regions_of_image).sum()
    return total / num_images if reduction == 'mean' else total


def _bank_logits(
    queries: Tensor, bank: Tensor, valid: Tensor, temperature: float
) -> Tensor:
    """Cosines to every row of the memory over the temperature, (R, C, L)."""
    check_shape('bank', bank, ('C', 'L', queries.shape[1]))
    check_shape('valid', valid, bank.shape[:2])
    if valid.dtype != torch.bool:
        raise ValueError(f'valid: expected bool, got {valid.dtype}')
    if not temperature > 0:
        raise ValueError(f'temperature: expected more than 0, got {temperature}')
    directions, rows = unit(queries), widen(bank).flatten(0, 1)
    dtype = torch.promote_types(directions.dtype, rows.dtype)
    directions, rows = directions.to(dtype), rows.to(dtype)
    # lengths are divided out after the product: no unit copy of the whole memory
    scales = torch.linalg.vector_norm(rows, dim=1).clamp_min(EPSILON) * temperature
    with full_precision(rows):
        logits = directions @ rows.T / scales
    return logits.unflatten(1, valid.shape)


def _absent(logits: Tensor) -> float:
    """Stand-in for log 0 whose differences and gradients stay finite."""
    return torch.finfo(logits.dtype).min / 4


def _log_sums(logits: Tensor, valid: Tensor) -> Tensor:
    """Log of the summed exponentials of each class's valid rows, (R, C)."""
    return logits.masked_fill(~valid, _absent(logits)).logsumexp(2)


def _nce(logits: Tensor, sums: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
    """InfoNCE (R,) of each region as one of ``classes``."""
    every_class = torch.arange(sums.shape[1], device=sums.device)
    own = every_class == classes[:, None]
    negatives = sums.masked_fill(own, _absent(sums)).logsumexp(1, keepdim=True)
    positives = logits[torch.arange(len(classes), device=logits.device), classes]
    taken = valid[classes]
    # log(e^p + e^n) - p without the difference of two large numbers
    losses = -F.logsigmoid(positives - negatives)
    return torch.where(taken, losses, 0).sum(1) / taken.sum(1).clamp_min(1)
