from dataclasses import dataclass

import pytest
import torch

from mmwsss.refiners import (
    PAMRRefiner,
    Refiner,
    ThresholdRefiner,
    build_refiner,
    refiner_names,
)
from mmwsss.registry import REFINERS
from mmwsss.utils.errors import ConfigError


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        ('threshold', ThresholdRefiner()),
        ('PAMR', PAMRRefiner()),
        ('PAMRRefiner', PAMRRefiner()),
        ('mmwsss.PAMRRefiner', PAMRRefiner()),
        (dict(type='pamr', iterations=3), PAMRRefiner(iterations=3)),
        (dict(type=PAMRRefiner, dilations=[1, 2]), PAMRRefiner(dilations=(1, 2))),
    ],
)
def test_names_and_configs(config, expected):
    found = build_refiner(config)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    'config', ['pmar', 'mmwsss.pmar', dict(type='mmseg.PAMRRefiner'), dict(t='pamr')]
)
def test_unknown_refiner_names_the_known(config):
    with pytest.raises(ConfigError) as caught:
        build_refiner(config)
    asked = config if isinstance(config, str) else config.get('type')
    assert str(caught.value).startswith(f'no refiner {asked!r}; known are densecrf (')
    assert 'pamr (PAMRRefiner), ' in str(caught.value)
    assert 'threshold (ThresholdRefiner)' in str(caught.value)


def test_unknown_setting():
    with pytest.raises(TypeError, match="unexpected keyword argument 'iteration'"):
        build_refiner(dict(type='pamr', iteration=3))


def test_other_refiners_join_by_registration():
    @dataclass(frozen=True, kw_only=True)
    class SalientRefiner(Refiner):
        extra_supervision = 'saliency'
        share: float = 0.5

        def refine(self, maps, image, tags):
            return torch.zeros(maps.shape[1:], dtype=torch.int64)

    REFINERS.register_module(module=SalientRefiner)
    try:
        assert refiner_names()['salient'] == 'SalientRefiner'
        refiner = build_refiner(dict(type='salient', share=0.3))
    finally:
        del REFINERS.module_dict['SalientRefiner']
    assert refiner.settings() == dict(type='SalientRefiner', share=0.3)
    assert refiner.extra_supervision == 'saliency'
