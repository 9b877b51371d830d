"""The reference tool on RCA: the paper's and the release's arrays, from the inputs."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / 'tests/data/rca_ops.npz'
INPUTS = ('input/', 'const/', 'mixup/omega', 'mixup/partner_image')
INPUTS += ('mixup/partner_class', 'clamp/', 'aggregation/weight/')
INPUTS += ('oaa/map', 'oaa/epoch', 'oaa/total_epochs', 'kmeans/data')
# what the release computes by masks that pile up and by its clamp
ERRORS = ('official/memory/', 'derived/memory/', 'official/clamp/')
# scikit-learn computed it in float32
FLOAT32_SUM = 'official/kmeans/inertia'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools/analysis')
    import reference_run

    yield reference_run
    sys.modules.pop('reference_run', None)


def inputs():
    with np.load(REFERENCE) as file:
        return {key: file[key] for key in file if key.startswith(INPUTS)}


def assert_arrays(got, relative):
    with np.load(REFERENCE) as want:
        others = {key for key in want if not key.startswith(INPUTS + ERRORS)}
        assert set(got) == others
        for key in others:
            assert got[key].shape == want[key].shape, key
            if want[key].dtype.kind == 'f':
                assert got[key].dtype.kind == 'f', key
                exact = want[key].dtype == np.float64 and key != FLOAT32_SUM
                limit = (relative if exact else 1e-5) * np.abs(want[key]).max()
                error = np.abs(got[key] - want[key]).max()
                assert error <= limit, (key, error)
            else:
                assert got[key].dtype == want[key].dtype, key
                np.testing.assert_array_equal(got[key], want[key], key)


def test_every_documented_array_is_recomputed_from_the_inputs(tool, tmp_path):
    # the stored results are taken out: they cannot have been read
    np.savez(tmp_path / 'rca_inputs.npz', **inputs())
    out = tmp_path / 'new' / 'out.npz'
    assert tool.main([str(tmp_path / 'rca_inputs.npz'), '--out', str(out)]) == 0
    with np.load(out) as got, np.load(REFERENCE) as want:
        assert_arrays(dict(got), relative=1e-9)
        for key in got:
            assert got[key].dtype == want[key].dtype, key


def test_float32_suffices(tool):
    module = tool.module_for(REFERENCE)
    assert_arrays(module.compute(inputs(), torch.float32), relative=1e-5)


def test_stored_results_are_not_read(tool):
    read = tool.read_inputs(REFERENCE, tool.module_for(REFERENCE).INPUT_PREFIXES)
    assert set(read) == set(inputs())


def test_settings_follow_the_inputs(tool):
    # one image of another tag, another temperature, momentum and gate
    module, arrays = tool.module_for(REFERENCE), inputs()
    label = np.zeros_like(arrays['input/label'])
    label[1, 4] = 1
    draws = np.full((2, 1), 4)
    changed = module.compute(
        arrays
        | {
            'input/label': label,
            'mixup/omega': np.ones((2, 1)),
            'mixup/partner_image': np.ones_like(draws),
            'mixup/partner_class': draws,
            'const/temperature': np.array(0.5),
            'const/momentum': np.array(0.0),
            'const/score_gate': np.array(0.0),
        }
    )
    np.testing.assert_array_equal(changed['region/index'], [[1, 4]])
    loss = changed['paper/nce/loss']
    np.testing.assert_allclose(changed['paper/mixup/loss_region'], [loss, loss])
    np.testing.assert_allclose(
        changed['paper/mixup/loss_mean_over_images'], np.repeat(loss / 3, 2)
    )
    slot = arrays['input/pointer'][4]
    np.testing.assert_array_equal(changed['memory/writes'], [[1, 4, slot]])
    np.testing.assert_array_equal(
        changed['paper/memory/bank'][4, slot], changed['paper/memory/region'][0]
    )


@pytest.mark.parametrize(
    'key', ['input/cam', 'const/momentum', 'aggregation/weight/V.bias', 'oaa/epoch']
)
def test_missing_input_is_named(tool, tmp_path, capsys, key):
    arrays = inputs()
    del arrays[key]
    np.savez(tmp_path / 'rca_less.npz', **arrays)
    out = tmp_path / 'out.npz'
    assert tool.main([str(tmp_path / 'rca_less.npz'), '--out', str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert 'rca_less.npz' in lines[0]
    assert key in lines[0]
    assert not out.exists()
