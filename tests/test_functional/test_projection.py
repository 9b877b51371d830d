"""The principal plane against scikit-learn, a case worked by hand, and its limits."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from mmwsss.functional.projection import principal_plane


def cloud(rows, channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scales = torch.linspace(3, 0.5, channels)
    return torch.randn(rows, channels, generator=generator) * scales + 5


@pytest.mark.parametrize(('rows', 'channels'), [(40, 6), (5, 30), (2000, 16)])
def test_plane_is_that_of_scikit_learn(rows, channels):
    data = cloud(rows, channels)
    plane = principal_plane(data)
    known = PCA(2, svd_solver='full').fit(data.double().numpy())
    np.testing.assert_allclose(plane.mean, known.mean_, atol=1e-12)
    np.testing.assert_allclose(plane.shares, known.explained_variance_ratio_, rtol=1e-8)
    cosines = (plane.axes.numpy() * known.components_).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-8)
    places = known.transform(data.double().numpy()) * np.sign(cosines)
    np.testing.assert_allclose(plane.project(data), places, atol=1e-7)


def test_signs_do_not_depend_on_the_solver():
    data = cloud(50, 8)
    plane = principal_plane(data)
    for axis in plane.axes:
        assert axis[axis.abs().argmax()] > 0
    # mirrored rows have the same axes, and places on the other side
    mirrored = principal_plane(-data)
    torch.testing.assert_close(mirrored.axes, plane.axes)
    torch.testing.assert_close(mirrored.project(-data), -plane.project(data))
    torch.testing.assert_close(principal_plane(data.flip(0)).axes, plane.axes)


def test_other_rows_are_seen_from_the_same_place():
    data = cloud(30, 5).double()
    plane = principal_plane(data)
    middle = plane.project(data.view(3, 10, 5)).mean((0, 1))
    torch.testing.assert_close(middle, torch.zeros(2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        plane.project(data[:4].mean(0)), plane.project(data[:4]).mean(0)
    )


@pytest.mark.parametrize('data', [torch.ones(4, 3), torch.full((1, 3), 7.0)])
def test_equal_rows_lie_at_the_origin(data):
    plane = principal_plane(data)
    assert not plane.project(data).any()
    assert plane.shares.tolist() == [0, 0]


def test_one_channel_has_one_axis():
    plane = principal_plane(torch.tensor([[1.0], [3.0]]))
    assert plane.project(torch.tensor([[1.0], [3.0]])).tolist() == [[-1, 0], [1, 0]]
    assert plane.shares.tolist() == [1, 0]


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((3,), r'rows: expected shape \(n, D\), got \(3,\)'),
        ((0, 3), r'rows: expected at least one, got shape \(0, 3\)'),
        ((3, 0), r'rows: expected at least one, got shape \(3, 0\)'),
    ],
)
def test_what_is_no_rows_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        principal_plane(torch.zeros(shape))
