"""Token orders of the views against ACR, eq. 12, and against loops."""

import math

import pytest
import torch

from mmwsss.functional.views import (
    DIHEDRAL,
    INVERSE,
    TRANSPOSING,
    apply_dihedral,
    inverse_token_order,
    permute_attention,
    resize_attention,
    token_resize_matrix,
)

GRIDS = [(1, 1), (4, 4), (2, 5), (5, 3), (1, 6)]

# name: does X or its transpose enter, is P_h the reversal, is P_w: X' = P_h X P_w
FACTORS = {
    'identity': (False, False, False),
    'hflip': (False, False, True),
    'vflip': (False, True, False),
    'rot180': (False, True, True),
    'transpose': (True, False, False),
    'antitranspose': (True, True, True),
    'rot90': (True, True, False),
    'rot270': (True, False, True),
}

# name: pixel (row, column) of an image of height h and width w to its place in the view
PLACES = {
    'identity': lambda r, c, h, w: (r, c),
    'hflip': lambda r, c, h, w: (r, w - 1 - c),
    'vflip': lambda r, c, h, w: (h - 1 - r, c),
    'rot180': lambda r, c, h, w: (h - 1 - r, w - 1 - c),
    'transpose': lambda r, c, h, w: (c, r),
    'antitranspose': lambda r, c, h, w: (w - 1 - c, h - 1 - r),
    'rot90': lambda r, c, h, w: (w - 1 - c, r),  # counter-clockwise
    'rot270': lambda r, c, h, w: (c, h - 1 - r),
}


def reversal(size, wanted):
    eye = torch.eye(size, dtype=torch.float64)
    return eye.flip(0) if wanted else eye


def commutation(rows, columns):
    """C with C vec(X) = vec(X^T) for X (rows, columns), vec column by column."""
    matrix = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for r in range(rows):
        for c in range(columns):
            matrix[r * columns + c, c * rows + r] = 1
    return matrix


def to_column_major(rows, columns):
    """T with vec by columns = T (vec by rows)."""
    matrix = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for r in range(rows):
        for c in range(columns):
            matrix[c * rows + r, r * columns + c] = 1
    return matrix


def invert_by_equation_12(attention, name, grid):
    """C^T (P_w (x) P_h^T) A' (P_w (x) P_h^T)^T C on the patches, class token apart."""
    transposes, reverse_rows, reverse_columns = FACTORS[name]
    rows, columns = grid[::-1] if transposes else grid
    p_h, p_w = reversal(rows, reverse_rows), reversal(columns, reverse_columns)
    commute = torch.eye(rows * columns, dtype=torch.float64)
    if transposes:
        commute = commutation(*grid)
    operator = commute.T @ torch.kron(p_w, p_h.T.contiguous())
    operator = to_column_major(*grid).T @ operator @ to_column_major(rows, columns)
    operator = torch.block_diag(torch.ones(1, 1, dtype=torch.float64), operator)
    return operator @ attention @ operator.T


def random_attention(tokens, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, tokens, tokens)
    return torch.randn(shape, generator=generator, dtype=torch.float64).softmax(-1)


def test_eight_elements():
    assert set(DIHEDRAL) == set(FACTORS) == set(INVERSE)
    assert {name for name in FACTORS if FACTORS[name][0]} == TRANSPOSING


@pytest.mark.parametrize('name', FACTORS)
@pytest.mark.parametrize('grid', GRIDS)
def test_index_equals_kronecker_form_of_equation_12(name, grid):
    attention = random_attention(1 + math.prod(grid))
    got = permute_attention(attention, inverse_token_order(name, grid))
    # permutation matrices copy entries, so that both are equal to the last bit
    assert torch.equal(got, invert_by_equation_12(attention, name, grid))


@pytest.mark.parametrize('name', PLACES)
@pytest.mark.parametrize('grid', GRIDS)
def test_elements_move_pixels_where_loops_do(name, grid):
    height, width = grid
    image = torch.arange(2 * height * width).view(2, height, width)
    view = apply_dihedral(image, name)
    assert view.shape[1:] == (grid[::-1] if name in TRANSPOSING else grid)
    for r in range(height):
        for c in range(width):
            row, column = PLACES[name](r, c, height, width)
            assert torch.equal(view[:, row, column], image[:, r, c])


@pytest.mark.parametrize('name', FACTORS)
@pytest.mark.parametrize('grid', GRIDS)
def test_inverse_undoes_the_element(name, grid):
    image = torch.rand(3, *grid, generator=torch.Generator().manual_seed(1))
    there = apply_dihedral(image, name)
    assert torch.equal(apply_dihedral(there, INVERSE[name]), image)


@pytest.mark.parametrize('name', FACTORS)
@pytest.mark.parametrize('grid', GRIDS)
def test_order_is_that_of_the_inverse_element(name, grid):
    back = grid[::-1] if name in TRANSPOSING else grid
    there = inverse_token_order(name, grid)
    again = inverse_token_order(INVERSE[name], back)
    attention = random_attention(1 + math.prod(grid))
    round_trip = permute_attention(permute_attention(attention, there), again)
    assert torch.equal(round_trip, attention)
    assert there[0] == 0
    assert there.sort().values.tolist() == list(range(1 + math.prod(grid)))


def test_one_index_an_image():
    grid, names = (3, 3), ['rot90', 'identity', 'antitranspose']
    attention = random_attention(10, batch=3)
    index = torch.stack([inverse_token_order(name, grid) for name in names])
    got = permute_attention(attention, index)
    for image, name in enumerate(names):
        want = invert_by_equation_12(attention[image], name, grid)
        assert torch.equal(got[image], want)


def test_permutation_lets_gradients_through():
    attention = random_attention(5).requires_grad_()
    for index in (torch.tensor([0, 2, 1, 4, 3]), torch.arange(10).view(2, 5) % 5):
        assert torch.autograd.gradcheck(
            lambda a, index=index: permute_attention(a, index), attention
        )


def bilinear_weights(source, target):
    """Weights (target, source) of one axis, pixel centres at half coordinates."""
    weights = [[0.0] * source for _ in range(target)]
    for out in range(target):
        position = max((out + 0.5) * source / target - 0.5, 0.0)
        low = min(int(position), source - 1)
        high = min(low + 1, source - 1)
        weights[out][low] += 1 - (position - low)
        weights[out][high] += position - low
    return weights


def resize_by_loops(source, target):
    rows = bilinear_weights(source[0], target[0])
    columns = bilinear_weights(source[1], target[1])
    size = 1 + math.prod(target), 1 + math.prod(source)
    matrix = torch.zeros(size, dtype=torch.float64)
    matrix[0, 0] = 1
    for r in range(target[0]):
        for c in range(target[1]):
            for y in range(source[0]):
                for x in range(source[1]):
                    matrix[1 + r * target[1] + c, 1 + y * source[1] + x] = (
                        rows[r][y] * columns[c][x]
                    )
    return matrix


RESIZES = [((4, 4), (4, 4)), ((2, 3), (4, 6)), ((6, 4), (4, 3)), ((1, 5), (3, 2))]


@pytest.mark.parametrize(('source', 'target'), RESIZES)
def test_resize_matrix_equals_loops(source, target):
    got = token_resize_matrix(source, target)
    torch.testing.assert_close(
        got.double(), resize_by_loops(source, target), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(got.sum(1), torch.ones(len(got)))


@pytest.mark.parametrize(('source', 'target'), RESIZES)
def test_resized_attention_equals_loops_and_rows_sum_to_one(source, target):
    attention = random_attention(1 + math.prod(source))
    got = resize_attention(attention, source, target)
    matrix = resize_by_loops(source, target)
    want = torch.einsum('ik,bkl,jl->bij', matrix, attention, matrix)
    want = want / want.sum(2, keepdim=True)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    torch.testing.assert_close(got.sum(2), torch.ones_like(got[..., 0]))


def test_resized_attention_keeps_its_own_grid():
    attention = random_attention(7)
    got = resize_attention(attention, (2, 3), (2, 3))
    torch.testing.assert_close(got, attention, rtol=0, atol=1e-12)


@pytest.mark.parametrize('function', [apply_dihedral, inverse_token_order])
def test_unknown_name(function):
    argument = torch.zeros(2, 2) if function is apply_dihedral else (2, 2)
    arguments = (argument, 'flip')
    if function is inverse_token_order:
        arguments = arguments[::-1]
    with pytest.raises(ValueError, match="view: expected one of .*hflip.* got 'flip'"):
        function(*arguments)


def test_shapes_that_disagree():
    attention = random_attention(5)
    with pytest.raises(ValueError, match=r'attention: expected shape \(B, N, N\)'):
        permute_attention(attention[0], torch.arange(5))
    with pytest.raises(ValueError, match=r'index: expected shape \(5\), got \(4,\)'):
        permute_attention(attention, torch.arange(4))
    with pytest.raises(ValueError, match=r'index: expected shape \(2, 5\)'):
        permute_attention(attention, torch.arange(5).expand(3, 5))
    with pytest.raises(ValueError, match=r'attention: expected shape \(B, 7, 7\)'):
        resize_attention(attention, (2, 3), (2, 2))
