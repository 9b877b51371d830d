"""Number formats and lengths of rows."""

import math

import pytest
import torch

from mmwsss.functional import vectors


def test_unit_equals_a_division_by_the_length():
    rows = torch.randn(
        3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    got = vectors.unit(rows)
    for row, direction in zip(rows.tolist(), got.tolist()):
        length = math.sqrt(math.fsum(x * x for x in row))
        assert direction == pytest.approx([x / length for x in row], rel=1e-14)


def test_unit_of_a_zero_row_is_zero_and_sends_no_gradient():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    got = vectors.unit(rows)
    got.backward(torch.ones(2, 2))
    assert got[0].tolist() == [0.0, 0.0]
    assert rows.grad[0].tolist() == [0.0, 0.0]
    # (I - u u') g / length
    assert rows.grad[1].tolist() == pytest.approx([0.032, -0.024])


def test_unit_gradient():
    rows = torch.tensor([[0.3, -2.0], [5.0, 1.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(vectors.unit, rows.requires_grad_())


@pytest.mark.parametrize(
    ('given', 'widened'),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_only_half_precision_is_widened(given, widened):
    assert vectors.widen(torch.ones(1, dtype=given)).dtype == widened


def test_autocast_is_off_inside_and_on_again_behind():
    rows = torch.ones(1, 1)
    with torch.autocast('cpu', torch.bfloat16):
        with vectors.full_precision(rows):
            assert (rows @ rows).dtype == torch.float32
        assert (rows @ rows).dtype == torch.bfloat16
