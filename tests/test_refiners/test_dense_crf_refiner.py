"""The dense CRF: its glue with a stand-in for the package, its values with the package.

The stand-in notes what it is given; so the glue is tested where the package is absent.
"""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from mmwsss.refiners import DenseCRFRefiner, build_refiner
from mmwsss.registry import REFINERS
from mmwsss.utils.dense_crf import PRESETS
from mmwsss.utils.errors import ConfigError, DependencyError

MAPS = torch.tensor([[[0.0, 0.1, 0.7, 0.4]], [[0.0, 0.5, 0.6, 0.9]]])
IMAGE = np.arange(12, dtype=np.uint8).reshape(1, 4, 3)


class RecordingCRF:
    """Notes what it is given; its marginals are those of the energies alone."""

    made = []

    def __init__(self, width, height, labels):
        self.shape = (labels, height * width)
        self.calls = {}
        self.made.append(self)

    def setUnaryEnergy(self, energies):
        assert energies.shape == self.shape
        assert energies.dtype == np.float32 and energies.flags.c_contiguous
        self.energies = energies

    def addPairwiseGaussian(self, **settings):
        self.calls['gauss'] = settings

    def addPairwiseBilateral(self, *, rgbim, **settings):
        assert rgbim.dtype == np.uint8 and rgbim.flags.c_contiguous
        self.calls['bilateral'] = settings
        self.image = rgbim

    def inference(self, iterations):
        self.iterations = iterations
        scores = np.exp(-self.energies)
        return (scores / scores.sum(0)).tolist()


@pytest.fixture
def package(monkeypatch):
    """Stand in for the package; return the list of the CRFs that are made."""
    module = ModuleType('pydensecrf.densecrf')
    module.DenseCRF2D = type('DenseCRF2D', (RecordingCRF,), dict(made=[]))
    monkeypatch.setitem(sys.modules, 'pydensecrf', ModuleType('pydensecrf'))
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', module)
    return module.DenseCRF2D.made


def argmax_by_loops(planes, tags):
    """Label of the largest plane, the first of equal ones, the background first."""
    label = np.zeros(planes[0].shape, int)
    for place in np.ndindex(label.shape):
        values = [float(plane[place]) for plane in planes]
        label[place] = [0, *(tag + 1 for tag in tags)][values.index(max(values))]
    return label


@pytest.mark.parametrize('alpha', [1.0, 4.0])
def test_glue(package, alpha):
    label = DenseCRFRefiner(alpha=alpha, iterations=3)(MAPS, IMAGE, (3, 8))
    (crf,) = package
    background = (1 - MAPS.numpy().max(0)) ** alpha
    planes = [background, *MAPS.numpy()]
    for energies, plane in zip(crf.energies, planes, strict=True):
        expected = [-math.log(max(float(score), 1e-5)) for score in plane.ravel()]
        np.testing.assert_allclose(energies, expected, rtol=1e-6)
    assert crf.calls == dict(
        gauss=dict(sxy=3.0, compat=3.0),
        bilateral=dict(sxy=80.0, srgb=13.0, compat=10.0),
    )
    assert crf.iterations == 3
    np.testing.assert_array_equal(crf.image, IMAGE)
    np.testing.assert_array_equal(label, argmax_by_loops(planes, (3, 8)))
    assert label.dtype == np.uint8 and set(np.unique(label)) >= {0, 4, 9}


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(background_threshold=0.3), [0, 9, 4, 9]),
        (dict(background_threshold=0.3, foreground_threshold=0.65), [0, 255, 4, 9]),
        # the best scores are 0, 0.5, 0.7 and 0.9: against 0.7 ** 1 and the like
        (dict(alpha=0.5), [0, 0, 4, 9]),
        (dict(alpha=0.5, background_alpha=4), [0, 255, 4, 9]),
        (dict(alpha=0.05, background_alpha=4), [0, 255, 255, 9]),
    ],
)
def test_backgrounds(package, settings, expected):
    label = DenseCRFRefiner(**settings)(MAPS, IMAGE, (3, 8))
    assert label.tolist() == [expected]
    assert len(package) == len(set(settings))


def test_certainty_makes_energies_of_the_best_label(package):
    DenseCRFRefiner(certainty=0.7, background_threshold=0.3)(MAPS, IMAGE, (3, 8))
    best = [0, 2, 1, 2]
    expected = [
        [-math.log(0.7 if row == winner else 0.15) for winner in best]
        for row in range(3)
    ]
    np.testing.assert_allclose(package[0].energies, expected, rtol=1e-6)


def test_image_without_tags_is_background(package):
    label = DenseCRFRefiner()(torch.zeros(0, 1, 4), IMAGE, ())
    assert (label.tolist(), package) == ([[0, 0, 0, 0]], [])


def test_presets_and_single_numbers(package):
    names = 'gauss_sxy gauss_compat bilateral_sxy bilateral_srgb bilateral_compat'
    numbers = dict(
        cam=(3, 3, 80, 13, 10), irn=(3, 3, 50, 5, 10), deeplabv2=(1, 3, 67, 3, 4)
    )
    assert numbers == PRESETS
    for preset, values in numbers.items():
        refiner = build_refiner(dict(type='densecrf', preset=preset))
        expected = dict(zip(names.split(), values))
        assert refiner.settings().items() >= expected.items()
        for name in expected:
            changed = build_refiner(
                {'type': 'DenseCRFRefiner', 'preset': preset, name: 7}
            )
            assert changed.settings() == refiner.settings() | {name: 7.0}


def test_settings_name_every_value(package):
    assert DenseCRFRefiner().settings() == dict(
        type='DenseCRFRefiner',
        preset='cam',
        gauss_sxy=3.0,
        gauss_compat=3.0,
        bilateral_sxy=80.0,
        bilateral_srgb=13.0,
        bilateral_compat=10.0,
        iterations=10,
        certainty=None,
        alpha=4.0,
        background_alpha=None,
        background_threshold=None,
        foreground_threshold=None,
    )
    assert DenseCRFRefiner.extra_supervision is None
    assert DenseCRFRefiner(background_threshold=0.3).alpha is None


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(preset='psa'), "preset: expected one of cam, irn, deeplabv2, got 'psa'"),
        (dict(gauss_sxy=0), 'refiner.gauss_sxy: expected > 0, got 0.0'),
        (dict(bilateral_compat=-1), 'refiner.bilateral_compat: expected > 0, got -1'),
        (dict(bilateral_srgb=math.nan), 'refiner.bilateral_srgb: expected > 0, got n'),
        (dict(iterations=0), 'refiner.iterations: expected >= 1, got 0'),
        (dict(certainty=1), 'expected 0 < certainty < 1, got 1'),
        (dict(alpha=0), 'expected 0 < alpha <= background_alpha, got 0.0 and None'),
        (dict(background_alpha=2), 'background_alpha, got 4.0 and 2'),
        (dict(foreground_threshold=0.5), 'stands beside a background_threshold'),
        (
            dict(background_threshold=0.3, alpha=4),
            'by background_threshold or by alpha',
        ),
        (
            dict(background_threshold=0.3, foreground_threshold=0.2),
            'foreground_threshold <= 1, got 0.3 and 0.2',
        ),
    ],
)
def test_unusable_settings(package, settings, message):
    with pytest.raises(ConfigError, match=message):
        DenseCRFRefiner(**settings)


def test_absent_package_is_told_when_the_refiner_is_built(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(DependencyError) as caught:
        build_refiner('densecrf')
    text = str(caught.value)
    assert text.startswith('DenseCRFRefiner needs the package pydensecrf (')
    assert "pip install 'mmwsss[crf]'" in text and '--refiner pamr' in text
    assert '\n' not in text
    with pytest.raises(DependencyError):
        REFINERS.build(dict(type='DenseCRFRefiner'))


# ------------------------------------------------------------- the real package


def scene(labels=2, height=24, width=31):
    """Noisy maps of boxes on an image whose colours follow them."""
    random = np.random.default_rng(labels)
    image = random.integers(0, 40, (height, width, 3))
    maps = random.random((labels, height, width)) * 0.3
    for index in range(labels):
        box = np.s_[4 + 2 * index : 16, 3 + 12 * index : 13 + 12 * index]
        image[box] += 60 * (index + 1)
        maps[index][box] += 0.4
    return image.astype(np.uint8), torch.from_numpy(maps).float()


def package_marginals(scores, image, numbers, iterations):
    """What the package itself gives for scores (n, H, W)."""
    crf_module = pytest.importorskip('pydensecrf.densecrf')
    utils = pytest.importorskip('pydensecrf.utils')
    height, width = image.shape[:2]
    crf = crf_module.DenseCRF2D(width, height, len(scores))
    crf.setUnaryEnergy(np.ascontiguousarray(utils.unary_from_softmax(scores)))
    gauss_sxy, gauss_compat, sxy, srgb, compat = numbers
    crf.addPairwiseGaussian(gauss_sxy, gauss_compat)
    crf.addPairwiseBilateral(sxy, srgb, np.ascontiguousarray(image), compat)
    return np.array(crf.inference(iterations)).reshape(scores.shape)


@pytest.mark.parametrize(
    ('preset', 'numbers'),
    [
        ('cam', (3, 3, 80, 13, 10)),
        ('irn', (3, 3, 50, 5, 10)),
        ('deeplabv2', (1, 3, 67, 3, 4)),
    ],
)
@pytest.mark.parametrize('labels', [1, 2])
def test_marginals_are_the_package_s(preset, numbers, labels):
    pytest.importorskip('pydensecrf.densecrf')
    image, maps = scene(labels)
    background = (1 - maps.numpy().max(0, keepdims=True)) ** 4
    scores = np.concatenate([background, maps.numpy()])
    expected = package_marginals(scores, image, numbers, 10)
    refiner = DenseCRFRefiner(preset=preset)
    found = refiner.marginals(torch.cat([*refiner.backgrounds(maps), maps]), image)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    tags = (6, 14)[:labels]
    label = refiner(maps, image, tags)
    np.testing.assert_array_equal(label, argmax_by_loops(expected, tags))
    assert set(np.unique(label)) == {0, *(tag + 1 for tag in tags)}
    assert (label > 0).mean() != (scores.argmax(0) > 0).mean()


def test_labels_repeat_bit_by_bit():
    pytest.importorskip('pydensecrf.densecrf')
    image, maps = scene()
    refiner = DenseCRFRefiner()
    scores = torch.cat([*refiner.backgrounds(maps), maps])
    first = refiner.marginals(scores, image)
    assert torch.equal(first, refiner.marginals(scores, image))


def mean_field(scores, image, numbers, iterations):
    """Mean field with exact kernels in float64, every pair of pixels."""
    gauss_sxy, gauss_compat, sxy, srgb, compat = numbers
    places = np.indices(image.shape[:2]).reshape(2, -1).T.astype(float)
    colours = image.reshape(-1, 3).astype(float)

    def kernel(features):
        distance = ((features[:, None] - features[None]) ** 2).sum(-1)
        weights = np.exp(-distance / 2)
        norm = 1 / np.sqrt(weights.sum(1))
        return norm[:, None] * weights * norm

    pairs = gauss_compat * kernel(places / gauss_sxy)
    pairs += compat * kernel(np.concatenate([places / sxy, colours / srgb], 1))
    energies = -np.log(np.clip(scores.reshape(len(scores), -1), 1e-5, 1))
    marginals = np.exp(-energies)
    marginals /= marginals.sum(0)
    for _ in range(iterations):
        # a message from the own label lowers the energy: Potts less a constant
        marginals = np.exp(-energies + marginals @ pairs)
        marginals /= marginals.sum(0)
    return marginals.reshape(scores.shape)


def test_energy_is_that_of_the_docstring():
    """The package's filter is approximate, and all the same far from other energies."""
    pytest.importorskip('pydensecrf.densecrf')
    image, maps = scene(1, height=20, width=22)
    refiner = DenseCRFRefiner(preset='deeplabv2', bilateral_sxy=9, bilateral_srgb=30)
    scores = torch.cat([*refiner.backgrounds(maps), maps])
    found = refiner.marginals(scores, image).numpy()

    def difference(*numbers, iterations=10):
        exact = mean_field(scores.numpy(), image, numbers, iterations)
        return np.abs(found - exact).mean()

    own = difference(1, 3, 9, 30, 4)
    assert own < 1e-4
    half = 2**-0.5
    others = [
        difference(half, 3, 9 * half, 30 * half, 4),
        difference(2, 3, 9, 30, 4),
        difference(1, 2.5, 9, 30, 4),
        difference(1, 3, 3, 30, 4),
        difference(1, 3, 9, 12, 4),
        difference(1, 3, 9, 30, 3.5),
        difference(1, 3, 9, 30, 4, iterations=1),
    ]
    assert min(others) > 1.5 * own
