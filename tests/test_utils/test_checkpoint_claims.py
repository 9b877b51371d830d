"""Checkpoints that would run code or fill the memory, from whoever wrote them."""

import io
import os
import pickle
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmwsss.utils.checkpoint import find_checkpoint, find_resumable, read_checkpoint
from mmwsss.utils.checkpoint_claims import tensors_in
from mmwsss.utils.errors import CheckpointError

LARGE = 3 << 30
"""Bytes of which a test must not see a trace in its memory."""


class Call:
    """Pickled, a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'x.pth'


def refused(path, *parts):
    """Return the message of a refusal that took no memory to speak of."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken << 10 < LARGE / 10
    message = str(caught.value)
    assert all(part in message for part in (str(path), *parts)), message
    return message


def saved(path, content, *, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def rezipped(path, compression=zipfile.ZIP_STORED, **changed):
    """Write the records of an archive anew, some with other bytes."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in records.items():
            key = name.rpartition('/')[2].replace('.', '_')
            archive.writestr(name, changed.get(key, content))


@pytest.mark.parametrize('legacy', [False, True])
def test_a_bytearray_of_any_length(path, legacy):
    saved(path, dict(meta=Call(bytearray, LARGE)), legacy=legacy)
    refused(path, 'claims more than it can hold', 'bytearray', 'so it is not loaded')


@pytest.mark.parametrize('kind', ['O', 'f8'])
def test_an_array_of_any_shape(path, kind):
    shape = (LARGE // 8,)
    for call in (
        Call(np.ndarray, shape, kind),
        Call(np.empty(0).__reduce__()[0], np.ndarray, shape, kind),
        Call(np.empty(0).__reduce__()[0], np.ndarray, shape, kind.encode()),
    ):
        refused(saved(path, dict(meta=call)), 'x.pth')


def test_arrays_of_mmengine_are_read(path):
    arrays = [np.arange(6.0).reshape(2, 3), np.arange(3, dtype=np.int32)]
    found = read_checkpoint(saved(path, dict(meta=arrays)))['meta']
    for one, other in zip(found, arrays):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_compressed_records(path):
    saved(path, dict(state_dict={'w': torch.zeros(1 << 22)}))
    rezipped(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 16
    refused(path, 'compressed records, which torch never writes')


def test_records_that_share_their_bytes(path):
    """Fifty entries of the directory name one record."""
    saved(path, dict(state_dict={'w': torch.zeros(1 << 18)}))
    content = path.read_bytes()
    end = content.rfind(b'PK\5\6')
    count, size, start = struct.unpack_from('<HII', content, end + 10)
    directory = content[start : start + size]
    entries = directory * 50
    tail = content[end : end + 8] + struct.pack(
        '<HHIIH', 50 * count, 50 * count, len(entries), start, 0
    )
    path.write_bytes(content[:start] + entries + tail)
    refused(path, 'records of', 'in a file of')


def test_a_storage_that_claims_more_than_its_record(path):
    saved(path, dict(state_dict={'w': torch.zeros(1000)}))
    with zipfile.ZipFile(path) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith('data/0'))
    rezipped(path, **{name.rpartition('/')[2]: bytes(8)})
    refused(path)


@pytest.mark.parametrize('legacy', [False, True])
def test_a_tensor_that_repeats_its_bytes(path, legacy):
    absurd = torch.zeros(1).expand(1 << 20, 1 << 20)
    saved(path, dict(state_dict={'w': absurd}), legacy=legacy)
    refused(path, 'claims the shape (1048576, 1048576) in a file of')


def test_small_views_are_read(path):
    value = torch.arange(3.0).expand(4, 3)
    found = read_checkpoint(saved(path, dict(state_dict={'w': value})))
    assert torch.equal(found['state_dict']['w'], value)


@pytest.mark.parametrize(
    'tensor', [torch.eye(3).to_sparse(), torch.empty(9, device='meta')]
)
def test_tensors_without_bytes_of_their_own(path, tensor):
    refused(saved(path, dict(state_dict={'w': tensor})))


def test_tensors_are_found_wherever_they_are():
    inner = torch.ones(1)
    loop = [inner]
    loop.append(loop)
    found = list(tensors_in(dict(a=loop, b=dict(c=(torch.zeros(2), 'text')))))
    assert sorted(tensor.numel() for tensor in found) == [1, 2]


@pytest.mark.parametrize(
    'state', [[1], 'text', None, {'w': 1.0}, {'w': [torch.ones(1)]}, {3: torch.ones(1)}]
)
def test_weights_are_tensors_by_name(path, state):
    saved(path, dict(state_dict=state))
    refused(path, 'state_dict that is no tensors by name', 'a training wrote')


def test_archives_of_other_kinds(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('../../evil', b'text')
    refused(path, 'cannot be read as a checkpoint')
    assert [p.name for p in path.parent.iterdir()] == ['x.pth']
    np.savez(path.with_suffix('.npz'), weight=np.ones(3))
    refused(path.with_suffix('.npz'))
    script = torch.jit.script(nn.Linear(2, 2))
    torch.jit.save(script, path)
    refused(path)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('function', [os.mkdir, exec, eval, __import__])
def test_no_generation_of_pickles_runs_a_function(path, tmp_path, protocol, function):
    target = str(tmp_path / 'made')
    argument = target if function is os.mkdir else f'__import__("os").mkdir({target!r})'
    path.write_bytes(pickle.dumps(Call(function, argument), protocol))
    refused(path)
    content = dict(state_dict={}, meta=Call(function, argument))
    for legacy in (False, True):
        buffer = io.BytesIO()
        torch.save(
            content,
            buffer,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=not legacy,
        )
        path.write_bytes(buffer.getvalue())
        refused(path)
    assert not Path(target).exists()


# ----------------------------------------------------------- what mmengine itself reads


def test_mmengine_does_not_fall_back(path, tmp_path):
    """Its own loader warns and unpickles; a config's init_cfg comes to it."""
    model = nn.Linear(2, 2)
    saved(
        path,
        dict(state_dict=model.state_dict(), meta=Call(os.mkdir, str(tmp_path / 'm'))),
    )
    for read in (CheckpointLoader.load_checkpoint, lambda p: load_checkpoint(model, p)):
        with pytest.raises(CheckpointError, match='is not loaded'):
            read(str(path))
    assert not (tmp_path / 'm').exists()


@pytest.mark.parametrize('meta', [dict(epoch=1, config='import os'), dict(epoch=1), 3])
def test_the_text_of_a_config_is_left_out(path, meta):
    """Resuming, mmengine runs it as a program; its own name for a config is cfg."""
    saved(path, dict(meta=meta, state_dict={}))
    expected = dict(epoch=1) if isinstance(meta, dict) else 3
    assert read_checkpoint(path) == dict(meta=expected, state_dict={})
    assert CheckpointLoader.load_checkpoint(str(path))['meta'] == expected


def test_mmengine_reads_what_it_wrote(path):
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    saved(path, dict(state_dict=model.state_dict(), meta=dict(loss=buffer)))
    found = load_checkpoint(other, str(path), map_location='cpu')
    assert torch.equal(other.weight, model.weight)
    assert found['meta']['loss'].mean() == 1.5


# ------------------------------------------------------------------- names and folders


def test_names_of_the_last_checkpoint_that_are_no_text(tmp_path):
    saved(tmp_path / 'epoch_1.pth', dict(state_dict={}))
    (tmp_path / 'last_checkpoint').write_bytes(b'\xff\xfe\0')
    with pytest.raises(CheckpointError, match='holds no last checkpoint'):
        find_checkpoint(tmp_path)
    assert find_resumable(tmp_path) == tmp_path / 'epoch_1.pth'


@pytest.mark.parametrize('name', ['../outside.pth', '/etc/passwd', '..', '\0'])
def test_the_name_of_the_last_checkpoint_leads_nowhere_else(tmp_path, name):
    saved(tmp_path / 'outside.pth', dict(state_dict={}))
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/last_checkpoint').write_text(name)
    with pytest.raises(CheckpointError, match=f'no checkpoint at {tmp_path}/work'):
        find_checkpoint(tmp_path / 'work')


def test_links_that_lead_nowhere_are_passed_over(tmp_path):
    saved(tmp_path / 'epoch_1.pth', dict(state_dict={}))
    (tmp_path / 'epoch_2.pth').symlink_to(tmp_path / 'gone')
    assert find_resumable(tmp_path) == tmp_path / 'epoch_1.pth'
