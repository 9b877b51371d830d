"""RCA's losses, memory and predictions, by hand on a tiny CNN."""

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from model_builders import CHANNELS, CLASSES, images, sample, tiny_rca

from mmwsss.utils.errors import CheckpointError, ConfigError
from mmwsss.utils.randomness import Use, counted_seed

TAGS = [[1, 4], [0]]
REGIONS = [(0, 1), (0, 4), (1, 0)]
"""(image, class) in the order of the bank."""
SEED, ITERATION = 5, 7


@pytest.fixture(autouse=True)
def running():
    """A training in its third epoch."""
    hub = MessageHub.get_instance('rca')
    hub.update_info_dict(dict(seed=SEED, iter=ITERATION, epoch=2))
    yield hub
    MessageHub._instance_dict.pop('rca')


def tagged(tags=TAGS, **metainfo):
    return [sample(t, sample_idx=i, **metainfo) for i, t in enumerate(tags)]


def double(**settings):
    return tiny_rca(**settings).double(), images(dtype=torch.float64)


def remember(model, batch, steps=5):
    """Let the bank fill up and make prototypes."""
    for _ in range(steps):
        model.loss(batch, tagged())
        model.update_memory()
    model.refresh_prototypes()


def region(features, maps, image, index):
    """Mean feature where the class's softmax exceeds its mean, pixel by pixel."""
    scores = maps[image].softmax(0)[index]
    rows = [
        features[image][:, y, x]
        for y in range(scores.shape[0])
        for x in range(scores.shape[1])
        if scores[y, x] > scores.mean()
    ]
    return torch.stack(rows).mean(0)


def nce(query, own, bank, counts, temperature):
    """Equation 4 in plain sums."""
    query = query / query.norm()
    unit = lambda row: row / row.norm()
    negatives = sum(
        (query @ unit(bank[c, i]) / temperature).exp()
        for c in range(len(bank))
        for i in range(counts[c])
        if c != own
    )
    if not counts[own]:
        return torch.zeros((), dtype=query.dtype)
    positives = [query @ unit(bank[own, i]) / temperature for i in range(counts[own])]
    return sum((p.exp() + negatives).log() - p for p in positives) / counts[own]


def test_classification_of_both_heads():
    model, batch = double(contrast_from=9, coarse_weight=0.4)
    found = model.loss(batch, tagged())
    features = model.backbone(batch)[0]
    zeros = torch.zeros_like(features)
    for name, weight, maps in [
        ('loss_cls', 1.0, model.head(torch.cat([features, zeros], 1))),
        ('loss_cls_coarse', 0.4, model.coarse_head(features)),
    ]:
        probability = maps.mean((2, 3)).sigmoid()
        target = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]])
        right = torch.where(target > 0, probability, 1 - probability)
        torch.testing.assert_close(found[name], -weight * right.log().mean())
    assert set(found) == {'loss_cls', 'loss_cls_coarse'}


def test_regions_enter_the_bank_projected():
    model, batch = double()
    model.loss(batch, tagged())
    model.update_memory()
    features = model.backbone(batch)[0]
    projected, coarse = model.projection(features), model.coarse_head(features)
    assert model.memory.count.tolist() == [1, 1, 0, 0, 1]
    for image, index in REGIONS:
        expected = region(projected, coarse, image, index)
        torch.testing.assert_close(model.memory.features[index, 0], expected)


@pytest.mark.parametrize(
    ('space', 'query', 'banked'),
    [('projected', True, True), ('split', True, False), ('raw', False, False)],
)
def test_spaces_of_query_and_bank(space, query, banked):
    settings = dict(space=space, contrast=dict(type='RegionContrastLoss', mixup=False))
    model, batch = double(**settings)
    remember(model, batch)
    found = model.loss(batch, tagged())['loss_contrast']
    features = model.backbone(batch)[0]
    maps = model.coarse_head(features)
    project = model.projection or (lambda x: x)
    expected = region(project(features) if banked else features, maps, 1, 0)
    bank, counts = model.memory.features, model.memory.count.tolist()
    torch.testing.assert_close(bank[0, 0], expected)
    queries = project(features) if query else features
    losses = [
        nce(region(queries, maps, image, index), index, bank, counts, 0.07)
        for image, index in REGIONS
    ]
    expected = 0.01 * ((losses[0] + losses[1]) / 2 + losses[2]) / 2
    torch.testing.assert_close(found, expected)


def test_contrast_mixes_regions_of_two_images():
    model, batch = double()
    remember(model, batch)
    found = model.loss(batch, tagged())['loss_contrast']
    features = model.backbone(batch)[0]
    projected, maps = model.projection(features), model.coarse_head(features)
    pooled = [region(projected, maps, *key) for key in REGIONS]
    bank, counts = model.memory.features, model.memory.count.tolist()
    losses = []
    for (image, index), feature in zip(REGIONS, pooled):
        key = (Use.IMAGE, SEED, ITERATION, 1, image, index)
        draws = np.random.default_rng(counted_seed(*key))
        others = [i for i, (other, _) in enumerate(REGIONS) if other != image]
        partner = others[draws.integers(len(others))]
        omega = draws.beta(8.0, 8.0)
        mixed = omega * feature + (1 - omega) * pooled[partner]
        own, other = (
            nce(mixed, c, bank, counts, 0.07) for c in (index, REGIONS[partner][1])
        )
        losses.append(omega * own + (1 - omega) * other)
    expected = 0.01 * ((losses[0] + losses[1]) / 2 + losses[2]) / 2
    # mixing weights are drawn in single precision
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_sum_over_images_is_the_mean_times_the_batch():
    found = []
    for reduction in ('mean', 'sum'):
        model, batch = double(
            contrast=dict(type='RegionContrastLoss', reduction=reduction)
        )
        remember(model, batch)
        found.append(model.loss(batch, tagged())['loss_contrast'])
    torch.testing.assert_close(found[1], 2 * found[0])


@pytest.mark.parametrize('contrast_from', [0, 9])
def test_every_parameter_has_a_gradient(contrast_from):
    model = tiny_rca(contrast_from=contrast_from)
    for steps in (0, 5):
        if steps:
            remember(model, images())
        model.zero_grad()
        sum(model.loss(images(), tagged()).values()).backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None]
        assert not missing
        model.update_memory()


def test_contrast_begins_with_its_epoch(running):
    model = tiny_rca(contrast_from=3)
    assert 'loss_contrast' not in model.loss(images(), tagged())
    model.update_memory()
    model.refresh_prototypes()
    running.update_info('epoch', 3)
    assert 'loss_contrast' in model.loss(images(), tagged())


def test_samples_that_fill_up_a_batch_leave_no_region():
    model = tiny_rca()
    samples = tagged()
    samples[1].set_metainfo(dict(padding=True))
    model.loss(images(), samples)
    model.update_memory()
    assert model.memory.count.tolist() == [0, 1, 0, 0, 1]


def test_single_class_is_contrasted_unmixed():
    model, batch = double(aggregation=None)
    samples = [[2], [2]]
    for _ in range(3):
        losses = model.loss(batch, tagged(samples))
        # no other class is in the bank: log(e^p) - p
        assert losses['loss_contrast'].abs() < 1e-12
        sum(losses.values()).backward()
        model.update_memory()


def test_constant_maps_have_no_regions():
    model = tiny_rca()
    with torch.no_grad():
        for parameter in model.coarse_head.parameters():
            parameter.zero_()
    losses = model.loss(images(), tagged())
    assert float(losses['loss_contrast'].detach()) == 0
    sum(losses.values()).backward()
    model.update_memory()
    assert not model.memory.count.any()


def test_no_confident_region_leaves_prototypes_out():
    model = tiny_rca(memory=dict(type='RegionMemory', score_gate=0.9999))
    before = model.class_maps(images())
    remember(model, images())
    assert not model.aggregation.ready.any()
    torch.testing.assert_close(model.class_maps(images()), before)
    losses = model.loss(images(), tagged())
    assert all(value.isfinite() for value in losses.values())


def test_half_precision_stays_finite():
    model = tiny_rca()
    remember(model, images())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(1e3 * images(), tagged())
    assert all(value.isfinite() for value in losses.values())


def test_prediction_needs_prototypes_alone():
    model = tiny_rca()
    remember(model, images())
    expected = model.class_maps(images())
    other = tiny_rca()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith('memory.')}
    other.load_state_dict(state, strict=False)
    assert not other.memory.count.any()
    torch.testing.assert_close(other.class_maps(images()), expected)


def test_bank_of_another_class_count_is_refused():
    state = {
        k: v
        for k, v in tiny_rca(num_classes=CLASSES + 1).state_dict().items()
        if k.startswith('memory.')
    }
    with pytest.raises(CheckpointError, match=r'memory\.features is \(6, 4, 6\) there'):
        tiny_rca().load_state_dict(state, strict=False)


def test_bank_of_other_channels_is_refused():
    with pytest.raises(ConfigError, match=f'{CHANNELS}'):
        model = tiny_rca(
            memory=dict(type='RegionMemory', channels=CHANNELS + 1), aggregation=None
        )
        model.loss(images(), tagged())


def test_missing_memory_hook_is_named():
    model = tiny_rca()
    model.loss(images(), tagged())
    with pytest.raises(ConfigError, match="type='RegionMemoryHook'"):
        model.loss(images(), tagged())


def test_missing_refresh_hook_is_named():
    model = tiny_rca(aggregate_from=2)
    with pytest.raises(ConfigError, match="type='PrototypeRefreshHook'"):
        model.loss(images(), tagged())


@pytest.mark.parametrize(
    ('call', 'settings', 'message'),
    [
        ('update_memory', dict(memory=None), 'RegionMemoryHook needs a memory bank'),
        (
            'refresh_prototypes',
            dict(memory=None),
            'PrototypeRefreshHook needs a memory',
        ),
        ('refresh_prototypes', dict(), 'PrototypeRefreshHook needs prototypes'),
    ],
)
def test_hooks_without_their_part_are_named(call, settings, message):
    model = tiny_rca(**(dict(contrast=None, aggregation=None) | settings))
    with pytest.raises(ConfigError, match=message):
        getattr(model, call)()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(space='moon'), "space: expected one of .* got 'moon'"),
        (dict(region_scores='hard'), "region_scores: .* got 'hard'"),
        (dict(memory=None), "set model.memory=dict\\(type='RegionMemory'\\)"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        tiny_rca(**settings)


@pytest.mark.parametrize(
    'settings',
    [dict(reduction='max'), dict(temperature=0.0), dict(beta=-1.0)],
)
def test_contrast_settings_are_checked(settings):
    with pytest.raises(ConfigError):
        tiny_rca(contrast=dict(type='RegionContrastLoss') | settings)
