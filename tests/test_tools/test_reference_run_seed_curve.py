"""The reference tool on the threshold search: same arrays, from the inputs alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / 'tests/data/seed_curve.npz'
COUNTS = ('tp', 'predicted', 'labelled', 'best_index', 'best_threshold')


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools/analysis')
    import reference_run

    yield reference_run
    sys.modules.pop('reference_run', None)


def inputs():
    with np.load(REFERENCE) as file:
        return {k: file[k] for k in file if not k.startswith(('official', 'derived'))}


def test_every_documented_array_is_recomputed_from_the_inputs(tool, tmp_path):
    # the stored results are taken out: they cannot have been read
    np.savez(tmp_path / 'seed_inputs.npz', **inputs())
    out = tmp_path / 'new' / 'out.npz'
    assert tool.main([str(tmp_path / 'seed_inputs.npz'), '--out', str(out)]) == 0
    with np.load(out) as got, np.load(REFERENCE) as want:
        assert set(got) == {k for k in want if k.startswith(('official', 'derived'))}
        for key in got:
            assert got[key].shape == want[key].shape, key
            assert got[key].dtype == want[key].dtype, key
            if key.split('/')[1] in COUNTS:
                np.testing.assert_array_equal(got[key], want[key], key)
            else:
                np.testing.assert_allclose(
                    got[key], want[key], rtol=0, atol=1e-9, err_msg=key
                )


def assert_one_line(capsys, *parts):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_stored_results_are_not_read(tool):
    read = tool.read_inputs(REFERENCE, tool.module_for(REFERENCE).INPUT_PREFIXES)
    assert set(read) == set(inputs())


def test_unknown_file_name(tool, tmp_path, capsys):
    assert tool.main(['other.npz', '--out', str(tmp_path / 'out.npz')]) == 1
    assert_one_line(capsys, 'other.npz', 'acr_*.npz', 'seed_*.npz')
    assert not (tmp_path / 'out.npz').exists()


@pytest.mark.parametrize('content', [None, b'', b'no archive', b'PK\x03\x04cut'])
def test_unreadable_file(tool, tmp_path, capsys, content):
    path = tmp_path / 'seed_bad.npz'
    if content is not None:
        path.write_bytes(content)
    assert tool.main([str(path), '--out', str(tmp_path / 'out.npz')]) == 1
    assert_one_line(capsys, 'seed_bad.npz')


def test_npy_content_is_refused(tool, tmp_path, capsys):
    path = tmp_path / 'seed_array.npz'
    with path.open('wb') as file:
        np.save(file, np.zeros(3))
    assert tool.main([str(path), '--out', str(tmp_path / 'out.npz')]) == 1
    assert_one_line(capsys, 'seed_array.npz')


def test_missing_input_is_named(tool, tmp_path, capsys):
    arrays = inputs()
    del arrays['image/03/score']
    np.savez(tmp_path / 'seed_less.npz', **arrays)
    out = tmp_path / 'out.npz'
    assert tool.main([str(tmp_path / 'seed_less.npz'), '--out', str(out)]) == 1
    assert_one_line(capsys, 'seed_less.npz', 'image/03/score')


def test_contradicting_inputs_are_one_line(tool, tmp_path, capsys):
    arrays = inputs() | {'image/03/gt': np.zeros((2, 2), np.uint8)}
    np.savez(tmp_path / 'seed_wrong.npz', **arrays)
    out = tmp_path / 'out.npz'
    assert tool.main([str(tmp_path / 'seed_wrong.npz'), '--out', str(out)]) == 1
    assert_one_line(capsys, 'seed_wrong.npz', 'gt: expected shape')


def test_unwritable_output(tool, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    out = tmp_path / 'file' / 'out.npz'
    assert tool.main([str(REFERENCE), '--out', str(out)]) == 1
    assert_one_line(capsys, 'out.npz')
