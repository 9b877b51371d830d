"""Features of an image and its mirror image in one array."""

import pytest
import torch
import torch.nn.functional as F

from mmwsss.functional.feature_pairs import pair_features, pick_features


def features(images: torch.Tensor) -> torch.Tensor:
    """A convolution that does not see an image as its mirror image."""
    weight = torch.arange(27.0).sin().view(1, 3, 3, 3).repeat(2, 1, 1, 1)
    weight[1] = weight[1].cos()
    return F.conv2d(images, weight, padding=1)


def test_pick_gives_what_the_network_would_of_each_view():
    images = torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    plain, mirrored = features(images), features(images.flip(-1))
    assert not torch.allclose(plain.flip(-1), mirrored)
    pairs = pair_features(plain, mirrored)
    assert torch.equal(pick_features(pairs), plain)
    assert torch.equal(pick_features(pairs.flip(-1)), mirrored)
    # each image of a batch on its own
    mixed = torch.stack([pairs[0], pairs[1].flip(-1), pairs[2]])
    assert torch.equal(
        pick_features(mixed), torch.stack([plain[0], mirrored[1], plain[2]])
    )


def test_half_precision_keeps_the_side():
    plain = torch.ones(1, 1, 2, 3)
    pairs = pair_features(plain, 2 * plain).half()
    assert pick_features(pairs).unique().tolist() == [1.0]
    assert pick_features(pairs.flip(-1)).unique().tolist() == [2.0]


def test_zeros_count_as_unmirrored():
    assert pick_features(torch.zeros(1, 5, 2, 2)).shape == (1, 2, 2, 2)


def test_wrong_shapes_are_refused():
    one = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match='mirrored'):
        pair_features(one, one[..., :3])
    with pytest.raises(ValueError, match='two columns'):
        pair_features(one[..., :1], one[..., :1])
    with pytest.raises(ValueError, match='channels, got 4'):
        pick_features(torch.zeros(1, 4, 2, 2))
