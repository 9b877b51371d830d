import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmwsss.utils.checkpoint import find_checkpoint, find_resumable, read_checkpoint
from mmwsss.utils.errors import CheckpointError


class Trap:
    """Touches a file when unpickled; ``call`` is what an attacker would choose."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class AttributeTrap:
    """Reaches for a function through ``getattr``, which log buffers need."""

    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'a checkpoint.pth'


def hub_of_a_run(name):
    hub = MessageHub.get_instance(name)
    hub.update_scalar('train/loss', 0.5)
    hub.update_scalar('train/loss', torch.tensor(0.25))
    hub.update_scalar('val/count', 3)
    hub.update_info_dict(dict(iter=7, best_score=np.float64(12.5), ckpt='x.pth'))
    return hub.state_dict()


def test_what_mmengine_writes_is_read(path):
    weight = torch.randn(2, 3)
    written = dict(
        meta=dict(seed=np.int64(3), epoch=1, classes=('a', 'b'), done=None),
        state_dict={'weight': weight},
        message_hub=hub_of_a_run('test_checkpoint'),
        optimizer=dict(state={0: dict(momentum_buffer=weight)}, param_groups=[]),
    )
    torch.save(written, path)
    found = read_checkpoint(path)
    assert torch.equal(found['state_dict']['weight'], weight)
    assert found['meta'] == written['meta']
    buffer = found['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer)
    np.testing.assert_array_equal(buffer.data[0], [0.5, 0.25])
    assert buffer.mean() == 0.375
    assert found['message_hub']['runtime_info']['best_score'] == 12.5


@pytest.mark.parametrize('as_path', [str, Path])
def test_plain_state_dict(path, as_path):
    torch.save({'weight': torch.ones(2)}, path)
    assert read_checkpoint(as_path(path))['weight'].tolist() == [1, 1]


def test_legacy_file_format(path):
    state = {'weight': torch.ones(2)}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path)['weight'].tolist() == [1, 1]


def fails(path, *parts):
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    assert all(part in str(error.value) for part in [str(path), *parts])


def test_absent_file_and_folder(path, tmp_path):
    fails(path, 'no checkpoint at', 'check the path')
    fails(tmp_path, 'holds no last checkpoint', 'train there first')


@pytest.mark.parametrize('left', [0, 1, 100, 0.5, 0.99])
def test_cut_short(path, left):
    torch.save(dict(state_dict={'w': torch.randn(100)}, text='x' * 100), path)
    content = path.read_bytes()
    keep = left if isinstance(left, int) else int(left * len(content))
    path.write_bytes(content[:keep])
    fails(path)


def test_no_checkpoint_at_all(path):
    path.write_text('<html>404</html>')
    fails(path)


def test_no_dict(path):
    torch.save([torch.ones(2)], path)
    fails(path, 'holds a list, not a checkpoint')


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('place', ['meta', 'state_dict'])
def test_nothing_is_executed(path, tmp_path, legacy, place):
    checkpoint = {place: Trap(tmp_path / 'sprung')}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    fails(path, 'objects other than', 'plain state dict')
    path.write_bytes(pickle.dumps(checkpoint))
    fails(path)
    assert not (tmp_path / 'sprung').exists()
    # The trap would spring in a general unpickler.
    pickle.loads(path.read_bytes())
    assert (tmp_path / 'sprung').exists()


def test_getattr_is_no_way_to_a_function(path):
    torch.save(dict(meta=AttributeTrap()), path)
    fails(path, 'objects other than')


def test_tensors_come_to_the_cpu(path):
    torch.save(dict(state_dict={'w': torch.ones(2)}), path)
    assert read_checkpoint(path)['state_dict']['w'].device.type == 'cpu'


def test_allow_list_is_lifted_afterwards(path):
    before = set(torch.serialization.get_safe_globals())
    torch.save(dict(meta=1), path)
    read_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before


# ------------------------------------------------------ what a killed training leaves


@pytest.fixture
def work_dir(tmp_path):
    """Epochs 1, 2 and 3 of a training, the third one its last."""
    for epoch in (1, 2, 3):
        path = tmp_path / f'epoch_{epoch}.pth'
        torch.save(dict(state_dict={'w': torch.full((9,), float(epoch))}), path)
        os.utime(path, ns=(epoch * 10**9,) * 2)
    (tmp_path / 'last_checkpoint').write_text(f'/moved/since/{path.name}')
    torch.save({}, tmp_path / 'best_map.pth')
    return tmp_path


def test_folder_stands_for_its_last_checkpoint(work_dir):
    assert find_checkpoint(work_dir) == work_dir / 'epoch_3.pth'
    assert find_resumable(work_dir) == work_dir / 'epoch_3.pth'
    (work_dir / 'last_checkpoint').write_text('epoch_1.pth')
    assert find_resumable(work_dir) == work_dir / 'epoch_1.pth'


@pytest.mark.parametrize('content', ['', '/elsewhere/epoch_4.pth', None])
def test_torn_or_lost_name_of_the_last_checkpoint(work_dir, content):
    name = work_dir / 'last_checkpoint'
    name.unlink() if content is None else name.write_text(content)
    with pytest.raises(CheckpointError):
        find_checkpoint(work_dir)
    assert find_resumable(work_dir) == work_dir / 'epoch_3.pth'


def test_torn_checkpoints_are_passed_over(work_dir):
    for epoch, left in ((3, 100), (2, 0)):
        path = work_dir / f'epoch_{epoch}.pth'
        path.write_bytes(path.read_bytes()[:left])
        assert find_resumable(work_dir) == work_dir / f'epoch_{epoch - 1}.pth'
    (work_dir / 'epoch_1.pth').unlink()
    assert find_resumable(work_dir) is None
    assert find_resumable(work_dir / 'absent') is None


def test_iterations_count_as_well(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / 'iter_20.pth')
    assert find_resumable(tmp_path) == tmp_path / 'iter_20.pth'
