"""The reference tool on ACR: same arrays as released, from the inputs alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / 'tests/data/acr_tiny.npz'
INPUTS = ('image', 'label', 'weight/')
RELATIVE = 2e-5


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools/analysis')
    import reference_run

    yield reference_run
    sys.modules.pop('reference_run', None)


def inputs():
    with np.load(REFERENCE) as file:
        return {key: file[key] for key in file if key.startswith(INPUTS)}


def assert_close(got, want, key):
    assert got.shape == want.shape, key
    assert got.dtype == want.dtype, key
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error <= RELATIVE, (key, error)


def test_every_documented_array_is_recomputed_from_the_inputs(tool, tmp_path):
    # the stored results are taken out: they cannot have been read
    np.savez(tmp_path / 'acr_inputs.npz', **inputs())
    out = tmp_path / 'new' / 'out.npz'
    assert tool.main([str(tmp_path / 'acr_inputs.npz'), '--out', str(out)]) == 0
    with np.load(out) as got, np.load(REFERENCE) as want:
        assert set(got) == {key for key in want if not key.startswith(INPUTS)}
        assert sum(key.startswith('map/') for key in got) == 16
        for key in got:
            assert_close(got[key], want[key], key)


def test_settings_follow_the_inputs(tool, tmp_path):
    # one image, three classes, no stored head of timm's: shapes are read, not assumed
    arrays = inputs()
    arrays['image'], arrays['label'] = arrays['image'][:1], arrays['label'][:1, :3]
    for key in ('weight/cls_head.weight', 'weight/cls_head.bias'):
        arrays[key] = arrays[key][:3]
    for key in ('norm.weight', 'norm.bias', 'head.weight', 'head.bias'):
        del arrays[f'weight/{key}']
    np.savez(tmp_path / 'acr_less.npz', **arrays)
    out = tmp_path / 'out.npz'
    assert tool.main([str(tmp_path / 'acr_less.npz'), '--out', str(out)]) == 0
    with np.load(out) as got, np.load(REFERENCE) as want:
        assert_close(got['logits_view2'], want['logits_view2'][:1, :3], 'logits')
        for key in got:
            if key.startswith('attention'):
                assert_close(got[key], want[key][:1], key)
            if key.startswith('map/'):
                assert_close(got[key], want[key][:1, :3], key)


def test_stored_results_are_not_read(tool):
    read = tool.read_inputs(REFERENCE, tool.module_for(REFERENCE).INPUT_PREFIXES)
    assert set(read) == set(inputs())


@pytest.mark.parametrize('key', ['image', 'label', 'weight/cls_head.bias'])
def test_missing_input_is_named(tool, tmp_path, capsys, key):
    arrays = inputs()
    del arrays[key]
    np.savez(tmp_path / 'acr_less.npz', **arrays)
    out = tmp_path / 'out.npz'
    assert tool.main([str(tmp_path / 'acr_less.npz'), '--out', str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert 'acr_less.npz' in lines[0]
    assert key.removeprefix('weight/') in lines[0]
    assert not out.exists()
