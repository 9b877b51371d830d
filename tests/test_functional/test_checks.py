"""Shapes against patterns of letters and numbers."""

import pytest
import torch

from mmwsss.functional.checks import check_shape


@pytest.mark.parametrize(
    ('shape', 'pattern'),
    [
        ((), ()),
        ((2, 3), ('B', 'K')),
        ((2, 3), (2, 3)),
        ((2, 3), torch.Size([2, 3])),
        ((4, 7, 7), ('B', 'N', 'N')),
        ((4, 0, 7), ('B', 'K', 7)),
        ((5, 3, 5), ('N', 3, 'N')),
    ],
)
def test_fitting_shapes_pass(shape, pattern):
    assert check_shape('x', torch.zeros(shape), pattern) is None


@pytest.mark.parametrize(
    ('shape', 'pattern', 'expected'),
    [
        ((2, 3), ('B',), '(B)'),
        ((2,), ('B', 'K'), '(B, K)'),
        ((), ('B',), '(B)'),
        ((2, 3), ('B', 4), '(B, 4)'),
        ((4, 7, 8), ('B', 'N', 'N'), '(B, N, N)'),
        ((7, 4, 8), ('N', 'B', 'N'), '(N, B, N)'),
        # the last letter fits, which must not forgive the number before it
        ((2, 3, 2), ('B', 4, 'B'), '(B, 4, B)'),
    ],
)
def test_message_names_argument_expectation_and_shape(shape, pattern, expected):
    with pytest.raises(ValueError) as caught:
        check_shape('maps', torch.zeros(shape), pattern)
    assert str(caught.value) == f'maps: expected shape {expected}, got {shape}'
