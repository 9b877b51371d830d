"""A small case of the study of many records."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mmwsss.utils import artefact_store

PATH = Path(__file__).parents[2] / 'tools/analysis/seed_store_scale.py'
COUNT = 2500


@pytest.fixture(scope='module')
def study():
    spec = spec_from_file_location('seed_store_scale', PATH)
    module = module_from_spec(spec)
    sys.modules['seed_store_scale'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['seed_store_scale']


def test_a_small_case(study, tmp_path, monkeypatch):
    monkeypatch.setattr(study, 'apart', lambda action, *args: action(*args))
    report = study.measure(tmp_path / 'store', COUNT)
    assert COUNT > artefact_store.PACKED_FROM
    # manifest, index and three shards of 1,000 records
    assert report['files'] == 5
    assert report['open_index']['open_s'] < 1
    for name in ('full_pass', 'random_access'):
        assert report[name]['growth_megabytes'] < 2
        assert report[name]['index_megabytes'] < 20
