"""The CRF's numbers, energies and labels; its marginals: test_dense_crf_refiner.py."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmwsss.utils.dense_crf import (
    PRESETS,
    PairNumbers,
    choose_numbers,
    crf_label,
    energies_of,
    load_package,
)
from mmwsss.utils.errors import ConfigError, DependencyError

NONE = (None,) * 5


def test_numbers_of_a_preset_give_way_to_given_ones():
    assert choose_numbers('deeplabv2', NONE, 1, owner='x') == (1, 3, 67, 3, 4)
    given = (None, 5, None, None, 7)
    numbers = choose_numbers('irn', given, 1, owner='x')
    assert numbers == PairNumbers(3, 5.0, 50, 5, 7.0)
    assert isinstance(numbers.gauss_compat, float)
    assert PRESETS['irn'] == (3, 3, 50, 5, 10)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('psa', NONE, 1), "part.preset: expected one of cam, irn, deeplabv2, got 'ps"),
        (('cam', (0, *NONE[1:]), 1), 'part.gauss_sxy: expected > 0, got 0.0'),
        (('cam', (*NONE[1:], math.inf), 1), 'bilateral_compat: expected > 0, got inf'),
        (('cam', NONE, 0), 'part.iterations: expected >= 1, got 0'),
    ],
)
def test_unusable_numbers(arguments, message):
    with pytest.raises(ConfigError, match=message):
        choose_numbers(*arguments, owner='part')


def test_energies():
    scores = torch.tensor([0.0, 1e-7, 0.25, 1.0])
    expected = [-math.log(x) for x in (1e-5, 1e-5, 0.25, 1.0)]
    torch.testing.assert_close(energies_of(scores), torch.tensor(expected))


@pytest.mark.parametrize(
    ('instead', 'end'), [('', 'compiles it'), ('walk', 'compiles it, or walk')]
)
def test_absent_package(monkeypatch, instead, end):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(DependencyError) as caught:
        load_package('Part', instead=instead)
    text = str(caught.value)
    assert text.startswith('Part needs the package pydensecrf (')
    assert "pip install 'mmwsss[crf]'" in text and text.endswith(end)


def test_first_of_equal_labels_is_taken(monkeypatch):
    rows = [[0.25, 0.2, 0.3], [0.5, 0.4, 0.3], [0.25, 0.4, 0.4]]

    class Constant:
        def __init__(self, *size):
            assert size == (3, 1, 3)

        def inference(self, iterations):
            assert iterations == 4
            return rows

        setUnaryEnergy = addPairwiseGaussian = addPairwiseBilateral = lambda *_, **__: (
            None
        )

    module = SimpleNamespace(DenseCRF2D=Constant)
    monkeypatch.setitem(sys.modules, 'pydensecrf', SimpleNamespace())
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', module)
    image = np.zeros((1, 3, 3), np.uint8)
    scores = np.full((3, 1, 3), 1 / 3, np.float32)
    label = crf_label(scores, image, PRESETS['cam'], 4)
    assert (label.tolist(), label.dtype) == ([[1, 1, 2]], np.int64)
