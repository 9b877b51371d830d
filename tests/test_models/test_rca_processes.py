"""RCA in two processes remembers and learns what one does with the joint batch."""

import pytest
import torch
from joined_processes import run_joined
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from model_builders import CLASSES, images, sample, tiny_rca

STEPS, BATCH = 6, 4
REFRESHED = 3
# uneven on purpose: the second process has one region an image, or many
TAGS = [[[0, 1, 2], [3], [1, 4], [0]], [[2], [0, 1, 2, 3, 4], [3], [4, 0]]]


def train(rank):
    """Train a few steps; return weights, bank and prototypes."""
    hub = MessageHub.get_instance('rca processes')
    model = tiny_rca(memory=dict(type='RegionMemory', num_slots=3, score_gate=0.3))
    model = model.double()
    wrapped = model
    if get_world_size() > 1:
        wrapped = MMDistributedDataParallel(
            model, device_ids=None, broadcast_buffers=False
        )
    wrapped.eval()  # frozen batch normalization
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for step in range(STEPS):
        hub.update_info_dict(dict(seed=1, iter=step, epoch=step))
        batch = images(BATCH, seed=step, dtype=torch.float64)
        own = range(get_rank(), BATCH, get_world_size())
        samples = [
            sample(TAGS[step % 2][i], sample_idx=10 * step + i, padding=False)
            for i in own
        ]
        parts = wrapped(batch[list(own)], samples, mode='loss')
        losses.append({name: float(value.detach()) for name, value in parts.items()})
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
        model.update_memory()
        if step == REFRESHED:
            model.refresh_prototypes()
    return dict(state=model.state_dict(), losses=losses)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    pair = run_joined(train, tmp_path_factory.mktemp('pair'))
    return train(0), pair


def test_processes_agree_to_the_bit(runs):
    first, second = (run['state'] for run in runs[1])
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_processes_equal_one_with_the_joint_batch(runs):
    alone, pair = runs
    state = alone['state']
    assert int(state['memory.count'].min()) > 0 and state['aggregation.ready'].any()
    assert int(state['memory.count'].sum()) <= 3 * CLASSES
    for name, value in pair[0]['state'].items():
        torch.testing.assert_close(value, state[name], rtol=1e-9, atol=1e-9)


def test_losses_are_means_over_processes(runs):
    alone, pair = runs
    for step, expected in enumerate(alone['losses']):
        for name, value in expected.items():
            mean = sum(run['losses'][step][name] for run in pair) / 2
            assert mean == pytest.approx(value, rel=1e-9), (step, name)
    assert all(step['loss_contrast'] > 0 for step in alone['losses'][1:])
