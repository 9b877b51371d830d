"""Published checkpoints: what is left out, the name, and use without the memory."""

import hashlib
import io
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwsss.apis.launch import check_fits, lasting_weights, training_buffers
from mmwsss.apis.seeds import load_classifier
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import read_checkpoint
from mmwsss.utils.errors import CheckpointError

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/model_converters/publish.py'
MEMORY = {'memory.features', 'memory.pointer', 'memory.count'}


@pytest.fixture(scope='module')
def task():
    """RCA's embedded config and its model with everything filled."""
    config = Config.fromfile(ROOT / 'configs/rca/embedded.py')
    with DefaultScope.overwrite_default_scope('mmwsss'):
        model = MODELS.build(config.model)
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return config, model


@pytest.fixture
def trained(task, tmp_path):
    """A checkpoint as a training writes it."""
    meta = dict(
        epoch=3,
        iter=9,
        seed=5,
        time='now',
        samples_done=0,
        accumulated=['ab'],
        cfg='a = 1',
        dataset_meta=dict(classes=('background', 'cat')),
    )
    content = dict(
        meta=meta,
        state_dict=task[1].state_dict(),
        message_hub=dict(log_scalars={}),
        optimizer=dict(state={0: torch.ones(3)}),
        param_schedulers=[dict(last_step=1)],
        ema_state_dict=dict(steps=torch.tensor(1)),
    )
    path = tmp_path / 'epoch_3.pth'
    torch.save(content, path)
    return path


@pytest.fixture
def publish(monkeypatch, capsys):
    def publish(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        runpy.run_path(str(TOOL), run_name='__main__')
        return Path(capsys.readouterr().out.split(':')[0])

    return publish


def test_what_is_published(task, trained, publish, tmp_path):
    path = publish(trained, tmp_path / 'out/rca.pth')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / f'out/rca-{digest[:8]}.pth'
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    content = read_checkpoint(path)
    assert content.keys() == {'meta', 'state_dict'}
    assert content['meta'] == dict(
        epoch=3, iter=9, cfg='a = 1', dataset_meta=dict(classes=('background', 'cat'))
    )
    expected = task[1].state_dict()
    assert content['state_dict'].keys() == expected.keys() - MEMORY
    assert expected.keys() > MEMORY
    assert any(name.endswith('.prototypes') for name in content['state_dict'])
    for name, value in content['state_dict'].items():
        assert torch.equal(value, expected[name])
    assert path.stat().st_size < trained.stat().st_size


def test_memory_on_request_and_the_same_bytes_again(task, trained, publish, tmp_path):
    path = publish(trained, tmp_path / 'a', '--keep-memory')
    assert read_checkpoint(path)['state_dict'].keys() == task[1].state_dict().keys()
    again = publish(trained, tmp_path / 'b.pth', '--keep-memory')
    assert again.read_bytes() == path.read_bytes()
    assert again.name == path.name.replace('a-', 'b-')


def test_views_and_wrapped_names(publish, tmp_path):
    whole = torch.arange(1000.0)
    torch.save({'module.a': whole[:2]}, tmp_path / 'in.pth')
    path = publish(tmp_path / 'in.pth', tmp_path / 'out.pth')
    content = read_checkpoint(path)
    assert content['meta'] == {}
    assert content['state_dict']['a'].untyped_storage().size() == 2 * 4
    assert content['state_dict']['a'].tolist() == [0, 1]


def test_published_checkpoint_is_tested_as_the_training_s(
    task, trained, publish, tmp_path
):
    config, _ = task
    path = publish(trained, tmp_path / 'rca.pth')
    images = torch.rand(1, 3, 32, 32)
    logits = []
    for checkpoint in (trained, path):
        model = load_classifier(config, str(checkpoint))
        with torch.no_grad():
            logits.append(model(images))
        assert int(model.memory.count.sum()) == 0
    assert torch.equal(*logits)
    with pytest.raises(CheckpointError, match='has no state of the optimizer, as publ'):
        check_fits(str(path), model, whole=True, resumes=True)


def test_training_buffers_are_the_memory_s(task):
    _, model = task
    assert training_buffers(model) == {'memory': MEMORY}
    assert lasting_weights(model).keys() == model.state_dict().keys() - MEMORY


@pytest.mark.parametrize(
    ('lacking', 'resumes'),
    [
        (['memory.count'], False),
        (['memory.features', 'memory.pointer'], False),
        (['aggregation.prototypes'], False),
        (sorted(MEMORY), True),
    ],
)
def test_other_weights_may_not_be_absent(task, trained, lacking, resumes):
    content = torch.load(trained, weights_only=True)
    for name in lacking:
        del content['state_dict'][name]
    torch.save(content, trained)
    message = rf'{lacking[0]} is absent there and .* \({len(lacking)} weights differ'
    with pytest.raises(CheckpointError, match=message):
        check_fits(str(trained), task[1], whole=True, resumes=resumes)


def test_foreign_checkpoint_is_not_taken_for_one_without_memory(task, tmp_path):
    torch.save(dict(other=torch.zeros(1)), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='has none of the weights of RCAClass'):
        check_fits(str(tmp_path / 'other.pth'), task[1], whole=False)


def test_no_checkpoint(publish, tmp_path, capsys):
    torch.save(dict(a=1), tmp_path / 'a.pth')
    with pytest.raises(SystemExit):
        publish(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert (
        'CheckpointError: the checkpoint holds no state_dict' in capsys.readouterr().err
    )
    buffer = io.BytesIO()
    torch.save(dict(a=Path('x')), buffer)
    (tmp_path / 'c.pth').write_bytes(buffer.getvalue())
    with pytest.raises(SystemExit):
        publish(tmp_path / 'c.pth', tmp_path / 'b.pth')
    assert 'holds objects other than tensors' in capsys.readouterr().err
    assert not list(tmp_path.glob('b*'))
