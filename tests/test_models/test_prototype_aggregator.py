"""Aggregation and refresh against the reference arrays, loops, and two processes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from joined_processes import run_joined
from torch import nn

from mmwsss.models.aggregators import PrototypeAggregator, ReleasedAggregator
from mmwsss.models.classifiers.checkpoint_guard import refuse_other_shapes
from mmwsss.registry import MODELS
from mmwsss.utils.errors import CheckpointError, ConfigError

ARRAYS = np.load(Path(__file__).parents[1] / 'data/rca_ops.npz')
BOTH = [PrototypeAggregator, ReleasedAggregator]
LAYERS = dict(query='Q', key='K', value='V', context='aggre', output='concat_project')


def array(name):
    return torch.from_numpy(ARRAYS[name]).double()


def filled(aggregator):
    """Give the reference's prototypes, all ready."""
    aggregator = aggregator.double()
    aggregator.prototypes.copy_(array('input/prototypes'))
    aggregator.ready.fill_(True)
    return aggregator


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def memory_of(num_classes, slots, channels, seed=0):
    """Rows around three far points a class, the first rows of each class valid."""
    draws = generator(seed)
    points = 20 * torch.randn((num_classes, 3, channels), generator=draws)
    noise = torch.randn((num_classes, slots, channels), generator=draws)
    rows = points[:, torch.arange(slots) % 3] + noise
    return rows, torch.ones(num_classes, slots, dtype=torch.bool)


def test_reference_arrays():
    aggregator = filled(PrototypeAggregator(20, 16, num_prototypes=3))
    features = array('input/feature')
    found = aggregator(features)
    expected = array('paper/aggregation/concat')
    tolerance = 1e-9 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert aggregator.out_channels(16) == found.shape[1] == 32


@pytest.mark.parametrize(
    ('settings', 'factor'),
    [(dict(scale=0.3), 0.3), (dict(scale='sqrt'), 0.25), (dict(unit_rows=True), 1.0)],
)
def test_similarities_of_a_query_equal_plain_loops(settings, factor):
    """Features of other channels are joined, not compared."""
    aggregator = filled(PrototypeAggregator(20, 16, num_prototypes=3, **settings))
    aggregator.ready[3:] = False
    rows = aggregator.prototypes[:3].flatten(0, 1)
    query, features = array('input/query_feature'), torch.randn(3, 5, 7, 9).double()
    found = aggregator(features, query)
    assert found.shape == (3, 21, 7, 9) and aggregator.out_channels(5) == 21
    assert torch.equal(found[:, :5], features)
    for b, y, x in [(0, 0, 0), (1, 3, 4), (2, 6, 8)]:
        pixel = query[b, :, y, x]
        scores = []
        for row in rows:
            size = pixel.norm() * row.norm() if aggregator.unit_rows else 1
            scores.append(float(factor * (pixel @ row) / size))
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = sum(w * row for w, row in zip(weights, rows))
        torch.testing.assert_close(found[b, 5:, y, x], expected)


def test_nothing_ready_joins_zeros():
    aggregator = PrototypeAggregator(20, 16)
    features = torch.randn(2, 16, 3, 4, requires_grad=True)
    found = aggregator(features)
    assert torch.equal(found[:, :16], features)
    assert not found[:, 16:].any()
    found.sum().backward()
    assert torch.equal(features.grad, torch.ones_like(features))


def test_lower_precision_is_kept():
    aggregator = PrototypeAggregator(20, 16)
    assert aggregator(torch.randn(1, 16, 2, 2).bfloat16()).dtype == torch.bfloat16


def test_refresh_finds_the_optimum():
    data = array('kmeans/data').float()
    rows = torch.zeros(2, 24, 16)
    rows[1] = data
    valid = torch.tensor([[True] * 2 + [False] * 22, [True] * 24])
    aggregator = PrototypeAggregator(2, 16, num_prototypes=3)
    aggregator.refresh(rows, valid, generator=generator())
    assert aggregator.ready.tolist() == [False, True]
    assert int(aggregator.refreshes) == 1
    assert not aggregator.prototypes[0].any()
    centres = np.array(sorted(aggregator.prototypes[1].tolist()))
    expected = ARRAYS['official/kmeans/centres']
    np.testing.assert_allclose(centres, expected, atol=1e-5 * np.abs(expected).max())


def test_refresh_by_direction():
    data = array('kmeans/data').float()
    aggregator = PrototypeAggregator(1, 16, num_prototypes=3, spherical=True)
    valid = torch.ones(1, 24, dtype=torch.bool)
    aggregator.refresh(data[None], valid, generator=generator())
    expected = sorted(ARRAYS['derived/kmeans/spherical_centres'].tolist())
    centres = sorted(aggregator.prototypes[0].tolist())
    np.testing.assert_allclose(centres, expected, atol=1e-5)


def test_classes_with_too_few_rows_keep_their_prototypes():
    aggregator = PrototypeAggregator(3, 4, num_prototypes=3)
    rows, valid = memory_of(3, 9, 4)
    valid[2, 2:] = False
    aggregator.refresh(rows, valid, generator=generator())
    first = aggregator.prototypes.clone()
    assert aggregator.ready.tolist() == [True, True, False]
    valid[0], valid[2] = False, True
    aggregator.refresh(rows + 1, valid, generator=generator())
    assert aggregator.ready.tolist() == [True, True, True]
    assert torch.equal(aggregator.prototypes[0], first[0])
    assert not torch.equal(aggregator.prototypes[1], first[1])
    assert aggregator.prototypes[2].any()
    assert int(aggregator.refreshes) == 2


def test_refresh_depends_on_its_generator_alone():
    rows, valid = torch.randn(2, 40, 4, generator=generator()), torch.ones(2, 40).bool()
    found = []
    for seed in (1, 1, 2):
        aggregator = PrototypeAggregator(2, 4, num_prototypes=7)
        torch.rand(seed)
        aggregator.refresh(rows, valid, generator=generator(seed))
        found.append(aggregator.prototypes)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def released(num_classes=20, channels=16, num_prototypes=3):
    return ReleasedAggregator(num_classes, channels, num_prototypes=num_prototypes)


def test_released_reference_arrays():
    aggregator = filled(released())
    state = {
        f'{ours}.{kind}': array(f'aggregation/weight/{theirs}.{kind}')
        for ours, theirs in LAYERS.items()
        for kind in ('weight', 'bias')
    }
    names = {name for name, _ in aggregator.named_parameters()}
    assert names == state.keys()
    aggregator.load_state_dict(state, strict=False)
    found = aggregator(array('input/feature'))
    expected = array('official/aggregation/output')
    tolerance = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert aggregator.out_channels(16) == found.shape[1] == 16


def test_released_passes_over_classes_that_are_not_ready():
    aggregator = filled(released())
    aggregator.ready[2:] = False
    features, query = array('input/feature'), array('input/query_feature')
    found = aggregator(features, query)
    rows = aggregator.prototypes[:2].flatten(0, 1)
    for b, y, x in [(0, 0, 0), (2, 6, 8)]:
        q = aggregator.query.weight[:, :, 0, 0] @ query[b, :, y, x]
        q = q + aggregator.query.bias
        context = sum(
            (q @ aggregator.key(row)) * 20 / 3 * aggregator.value(row) for row in rows
        )
        joined = torch.cat(
            [
                features[b, :, y, x],
                aggregator.context(context[:, None, None])[:, 0, 0],
            ]
        )
        expected = aggregator.output(joined[:, None, None])[:, 0, 0]
        torch.testing.assert_close(found[b, :, y, x], expected)


def test_released_has_gradients_before_any_refresh():
    """As DDP asks for."""
    aggregator = released()
    aggregator(torch.randn(2, 16, 3, 4)).sum().backward()
    missing = [n for n, p in aggregator.named_parameters() if p.grad is None]
    assert missing == []
    assert not aggregator.key.weight.grad.any()
    assert aggregator.output.weight.grad.any()


@pytest.mark.parametrize('kind', BOTH)
def test_sizes_that_do_not_fit(kind):
    aggregator = kind(3, 4, num_prototypes=3)
    with pytest.raises(ConfigError, match='of 4 channels, the query has 5; set chan'):
        aggregator(torch.zeros(1, 4, 2, 2), torch.zeros(1, 5, 2, 2))
    refusals = [
        ((3, 9, 5), 'of 4 channels, the memory has 5; set channels'),
        ((2, 9, 4), 'has 3 classes, the memory 2; set num_classes'),
        ((3, 2, 4), '3 prototypes a class cannot be found among 2 slots; set memory.'),
    ]
    for shape, message in refusals:
        valid = torch.ones(shape[:2], dtype=torch.bool)
        with pytest.raises(ConfigError, match=message):
            aggregator.refresh(torch.zeros(shape), valid, generator=generator())
    assert int(aggregator.refreshes) == 0


def test_released_features_have_the_prototypes_channels():
    with pytest.raises(ConfigError, match='of 16 channels, the feature has 5'):
        released()(torch.zeros(1, 5, 2, 2), torch.zeros(1, 16, 2, 2))
    with pytest.raises(ConfigError, match='of 16 channels, the feature has 5'):
        released().out_channels(5)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_prototypes=0), 'at least 1, got 3, 4 and 0'),
        (dict(scale=0), "scale must be positive or 'sqrt', got 0"),
        (dict(scale='root'), "scale must be positive or 'sqrt', got 'root'"),
        (dict(init='random'), "init: expected one of .*, got 'random'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        PrototypeAggregator(3, 4, **settings)


@pytest.mark.parametrize('kind', BOTH)
def test_mistyped_key(kind):
    config = dict(type=kind.__name__, num_classes=3, channels=4, num_prototype=5)
    with pytest.raises(TypeError, match='num_prototype'):
        MODELS.build(config)


def test_state_survives_a_checkpoint(tmp_path):
    rows, valid = memory_of(3, 9, 4)
    one, other = (PrototypeAggregator(3, 4, num_prototypes=3) for _ in range(2))
    one.refresh(rows, valid, generator=generator())
    torch.save(one.state_dict(), tmp_path / 'half.pth')
    other.load_state_dict(torch.load(tmp_path / 'half.pth', weights_only=True))
    features = torch.randn(1, 4, 2, 2)
    assert torch.equal(one(features), other(features))
    assert int(other.refreshes) == 1


@pytest.mark.parametrize('kind', BOTH)
def test_checkpoint_of_another_class_count(kind):
    model = nn.ModuleDict(dict(aggregation=kind(3, 4, num_prototypes=3)))
    refuse_other_shapes(model)
    other = nn.ModuleDict(dict(aggregation=kind(2, 4, num_prototypes=3)))
    message = r'aggregation.prototypes is \(2, 3, 4\) there and \(3, 3, 4\) here'
    with pytest.raises(CheckpointError, match=message):
        model.load_state_dict(other.state_dict(), strict=False)


def refresh_twice(rank):
    """Draws differ between processes, so that the first one's must reach the other."""
    aggregator = PrototypeAggregator(3, 4, num_prototypes=5)
    rows, valid = torch.randn(3, 40, 4, generator=generator()), torch.ones(3, 40).bool()
    valid[2, 3:] = False
    aggregator.refresh(rows, valid, generator=generator(rank))
    aggregator.refresh(rows + 1, valid, generator=generator(rank + 10))
    return aggregator.state_dict()


def test_two_processes_have_the_first_ones_prototypes(tmp_path):
    first, second = run_joined(refresh_twice, tmp_path)
    alone = refresh_twice(0)
    assert first.keys() == second.keys() == {'prototypes', 'ready', 'refreshes'}
    for name, buffer in first.items():
        assert torch.equal(buffer, second[name])
        torch.testing.assert_close(buffer, alone[name], rtol=0, atol=1e-6)
    assert first['ready'].tolist() == [True, True, False]
    assert not torch.equal(refresh_twice(1)['prototypes'], alone['prototypes'])
