"""What refiners with a network share: settings, loading, and the walk by hand."""

import os
import pickle
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from refiner_networks import (
    PSA_CONFIG,
    build,
    drawn_image,
    drawn_maps,
    write_network,
    write_weights,
)

from mmwsss.functional.affinity_pairs import half_disc_offsets
from mmwsss.refiners import NetworkRefiner, network_refiner
from mmwsss.utils.errors import CheckpointError, ConfigError

TAGS = (2, 6)
SIZE = (14, 21)
STRIDE = 4
MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
CAM_CONFIG = """
model = dict(
    type='CAMClassifier',
    num_classes=2,
    backbone=dict(type='TwoLevels'),
    head=dict(type='CAMHead', in_channels=6, num_convs=0),
)
"""


@dataclass(frozen=True, kw_only=True)
class WalkRefiner(NetworkRefiner):
    """The base as it is, on PSA's network."""

    network = 'PSANetwork'


@pytest.fixture
def make(tmp_path):
    config, checkpoint = write_network(tmp_path)
    return lambda **settings: WalkRefiner(
        **(dict(config=config, checkpoint=checkpoint) | settings)
    )


def cell_means(planes):
    grid = [-(-side // STRIDE) for side in planes.shape[1:]]
    found = np.zeros((len(planes), *grid))
    for k, y, x in np.ndindex(*found.shape):
        rows = slice(STRIDE * y, STRIDE * (y + 1))
        found[k, y, x] = planes[k, rows, STRIDE * x : STRIDE * (x + 1)].mean()
    return found


def walked_by_hand(planes, image, *, exponent, steps):
    """Normalize RGB, ask the network, walk with a dense matrix in float64."""
    model = build(PSA_CONFIG).double().eval()
    generator = torch.Generator().manual_seed(0)
    for weight in model.state_dict().values():
        weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    pixels = (image - np.array(MEAN)) / np.array(STD)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    missing = [-side % STRIDE for side in image.shape[:2]]
    with torch.no_grad():
        affinity = model.affinity(F.pad(batch, (0, missing[1], 0, missing[0])))[0]
    cells = cell_means(planes.double().numpy())
    count, height, width = cells.shape
    matrix = np.eye(height * width)
    for p, (dy, dx) in enumerate(half_disc_offsets(3)):
        for y, x in np.ndindex(height, width):
            if y + dy < height and 0 <= x + dx < width:
                pair = y * width + x, (y + dy) * width + x + dx
                matrix[pair] = matrix[pair[::-1]] = affinity[p, y, x] ** exponent
    matrix /= matrix.sum(1, keepdims=True)
    flat = np.linalg.matrix_power(matrix, steps) @ cells.reshape(count, -1).T
    walked = torch.from_numpy(flat.T.reshape(1, count, height, width))
    sizes = [STRIDE * height, STRIDE * width]
    found = F.interpolate(walked, sizes, mode='bilinear', align_corners=False)[0]
    return found[:, : image.shape[0], : image.shape[1]].numpy()


def test_background_by_power_walks_with_the_classes(make):
    refiner = make(exponent=4.0, steps=3, alpha=1.5)
    maps, image = drawn_maps(2, *SIZE), drawn_image(*SIZE)
    background = (1 - maps.amax(0, keepdim=True)) ** 1.5
    walked = walked_by_hand(torch.cat([background, maps]), image, exponent=4.0, steps=3)
    expected = np.array([0, 3, 7])[walked.argmax(0)]
    assert {0, 3, 7} == set(np.unique(expected))
    np.testing.assert_array_equal(refiner(maps, image, TAGS), expected)


@pytest.mark.parametrize(('low', 'high'), [(0.7, None), (0.6, 0.8)])
def test_thresholds_apply_to_shares_of_the_largest_value(make, low, high):
    refiner = make(
        exponent=4.0, steps=3, background_threshold=low, foreground_threshold=high
    )
    maps, image = drawn_maps(2, *SIZE), drawn_image(*SIZE)
    walked = walked_by_hand(maps, image, exponent=4.0, steps=3)
    best = walked.max(0) / walked.max()
    winner = np.array([3, 7])[walked.argmax(0)]
    expected = np.where(best > (high or low), winner, np.where(best > low, 255, 0))
    assert len(np.unique(expected)) == (3 if high is None else 4)
    np.testing.assert_array_equal(refiner(maps, image, TAGS), expected)


def test_walked_planes(make):
    refiner, image = make(exponent=3.0, steps=20), drawn_image(*SIZE)
    planes = drawn_maps(3, *SIZE, seed=4)
    expected = walked_by_hand(planes, image, exponent=3.0, steps=20)
    found = refiner.walk(planes, image)
    assert found.shape == (3, *SIZE) and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_maps_without_any_score_are_background(make):
    refiner = make(background_threshold=0.3)
    label = refiner(torch.zeros(1, *SIZE), drawn_image(*SIZE), (4,))
    assert not label.any()


@pytest.mark.parametrize('score', [dict(alpha=4.0), dict(background_threshold=0.3)])
def test_image_without_tags_is_background(make, monkeypatch, score):
    monkeypatch.setattr(network_refiner, 'load_network', None)
    label = make(**score)(torch.zeros(0, *SIZE), drawn_image(*SIZE), ())
    assert label.shape == SIZE and not label.any()


def test_one_thread_computes_and_the_others_come_back(make, monkeypatch):
    refiner, seen = make(), []
    load = network_refiner.load_network

    def noted(*place):
        network = load(*place)
        network.backbone.register_forward_hook(
            lambda *_: seen.append(torch.get_num_threads())
        )
        return network

    monkeypatch.setattr(network_refiner, 'load_network', noted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        refiner(drawn_maps(2, *SIZE), drawn_image(*SIZE), TAGS)
        assert (seen, torch.get_num_threads()) == ([1], 2)
        with pytest.raises(ValueError, match='shape'):
            refiner.walk(torch.zeros(3, 3), drawn_image(*SIZE))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_nothing_is_loaded_before_the_first_image(make, monkeypatch):
    monkeypatch.setattr(network_refiner, 'MODELS', None)
    refiner = make()
    assert pickle.loads(pickle.dumps(refiner)) == refiner
    assert refiner.settings()['type'] == 'WalkRefiner'
    with pytest.raises(AttributeError):
        refiner(drawn_maps(2, *SIZE), drawn_image(*SIZE), TAGS)


def test_one_network_serves_all_images(make):
    refiner = make()
    before = network_refiner.load_network.cache_info()
    for seed in range(3):
        refiner(drawn_maps(2, *SIZE), drawn_image(*SIZE, seed=seed), TAGS)
    after = network_refiner.load_network.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def test_settings_state_digests_in_place_of_files(make, tmp_path):
    settings = make().settings()
    assert {name: settings[name] for name in list(settings) if len(name) < 7} == dict(
        type='WalkRefiner', steps=256, alpha=16.0
    )
    assert settings['exponent'] == 8.0
    assert settings['background_threshold'] is settings['foreground_threshold'] is None
    assert str(tmp_path) not in repr(settings)
    assert len(settings['network']) == len(settings['weights']) == 64
    assert set(settings) == {
        *('type', 'exponent', 'steps', 'alpha', 'network', 'weights'),
        *('background_threshold', 'foreground_threshold'),
    }


def test_place_of_the_files_does_not_matter(make, tmp_path):
    moved = shutil.copytree(tmp_path, tmp_path / 'moved')
    torch.save(
        torch.load(tmp_path / 'network.pth')['state_dict'], moved / 'network.pth'
    )
    text = PSA_CONFIG.replace("'TwoLevels'", "'TwoLevels', pretrained='/a/b.pth'")
    (moved / 'network.py').write_text(text)
    other = make(
        config=str(moved / 'network.py'), checkpoint=str(moved / 'network.pth')
    )
    assert other.settings() == make().settings()


def test_other_weights_and_other_networks_are_told_apart(make, tmp_path):
    first = make().settings()
    weights = write_weights(tmp_path / 'other.pth', PSA_CONFIG, seed=1)
    second = make(checkpoint=weights).settings()
    assert {k for k in first if first[k] != second[k]} == {'weights'}
    (tmp_path / 'wide.py').write_text(PSA_CONFIG.replace('radius=3', 'radius=4'))
    third = make(config=str(tmp_path / 'wide.py')).settings()
    assert {k for k in first if first[k] != third[k]} == {'network'}


def test_work_directory_stands_for_its_last_checkpoint(make, tmp_path):
    place = tmp_path / 'work'
    place.mkdir()
    shutil.copy(tmp_path / 'network.pth', place / 'epoch_2.pth')
    (place / 'last_checkpoint').write_text('/elsewhere/epoch_2.pth')
    assert make(checkpoint=str(place)).settings() == make().settings()


def test_changed_file_is_read_again(make, tmp_path):
    refiner = make()
    task = drawn_maps(2, *SIZE), drawn_image(*SIZE)
    before, walked = refiner.settings(), refiner.walk(*task)
    path = write_weights(tmp_path / 'network.pth', PSA_CONFIG, seed=3)
    os.utime(path, ns=(1, 1))
    assert refiner.settings()['weights'] != before['weights']
    assert float((refiner.walk(*task) - walked).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(config=''), r'^WalkRefiner runs a trained network; name config and '),
        (
            dict(checkpoint=''),
            r'of PSANetwork: --cfg-options refiner\.config=',
        ),
        (dict(config='none.py'), r'^refiner\.config: no file none\.py; name config'),
        (dict(exponent=0.0), r'exponent > 0 and steps >= 0, got 0\.0 and 256'),
        (dict(steps=-1), r'exponent > 0 and steps >= 0, got 8\.0 and -1'),
        (dict(alpha=0.0), r'^refiner\.alpha: expected > 0, got 0\.0'),
        (
            dict(alpha=4.0, background_threshold=0.3),
            r'by background_threshold or by alpha, not by both',
        ),
        (dict(foreground_threshold=0.3), r'stands beside a background_threshold'),
        (
            dict(background_threshold=0.5, foreground_threshold=0.3),
            r'background_threshold <= foreground_threshold <= 1, got 0\.5 and 0\.3',
        ),
        (dict(background_threshold=1.1), r'<= 1, got 1\.1 and None'),
    ],
)
def test_settings_that_are_not_usable(make, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)


def test_missing_checkpoint(make, tmp_path):
    with pytest.raises(CheckpointError, match=r'no checkpoint at .*none\.pth'):
        make(checkpoint=str(tmp_path / 'none.pth'))
    (tmp_path / 'work').mkdir()
    with pytest.raises(CheckpointError, match='work holds no last checkpoint; train'):
        make(checkpoint=str(tmp_path / 'work'))


def label_one(refiner):
    return refiner(drawn_maps(2, *SIZE), drawn_image(*SIZE), TAGS)


def test_config_of_another_network(make, tmp_path):
    config, checkpoint = write_network(tmp_path / 'cam', text=CAM_CONFIG)
    message = r'cam/network\.py is of a CAMClassifier, expected a PSANetwork; name the'
    with pytest.raises(ConfigError, match=message):
        label_one(make(config=config, checkpoint=checkpoint))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda s: s | {'join.weight': torch.zeros(2, 2)},
            r'join\.weight is \(2, 2\) there and \(7, 7, 1, 1\) here; name the config',
        ),
        (
            lambda s: {k: v for k, v in s.items() if k != 'join.weight'},
            r'join\.weight is absent there and \(7, 7, 1, 1\) here',
        ),
        (lambda s: s | {'zoom': torch.zeros(2)}, r'zoom is \(2,\) there and absent'),
    ],
)
def test_weights_of_another_network(make, tmp_path, change, message):
    state = torch.load(tmp_path / 'network.pth')['state_dict']
    torch.save(dict(state_dict=change(state)), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=rf'other\.pth does not fit .*{message}'):
        label_one(make(checkpoint=str(tmp_path / 'other.pth')))


@pytest.mark.parametrize('use', [label_one, NetworkRefiner.settings])
def test_files_that_hold_no_weights(make, tmp_path, use):
    path = tmp_path / 'cut.pth'
    path.write_bytes((tmp_path / 'network.pth').read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r'cut\.pth cannot be read as a check'):
        use(make(checkpoint=str(path)))
    torch.save(dict(epoch=3), tmp_path / 'plain.pth')
    with pytest.raises(CheckpointError, match=r'plain\.pth holds no weights of a net'):
        use(make(checkpoint=str(tmp_path / 'plain.pth')))
