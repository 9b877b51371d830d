"""Trainings that write down all they see, draw and give, to compare them by the bit."""

import hashlib
import random

import numpy as np
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils._pytree import tree_leaves

from mmwsss.utils.randomness import Use

DRAWN_BY_A_STEP = (Use.SAMPLE, Use.STEP, Use.BATCH, Use.IMAGE)
"""Uses whose keys are drawn for one iteration; others are drawn between some."""


class Recorder(Hook):
    """Notes what each iteration saw and gave, and stops a run like a power cut."""

    priority = 'LOWEST'

    def __init__(self, stop_at=None):
        self.iterations, self.stop_at = {}, stop_at
        self.keys = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        samples = [sample.sample_idx for sample in data_batch['data_samples']]
        self.iterations[runner.iter] = dict(
            batch=batch_idx,
            samples=samples,
            pixels=[int(image.long().sum()) for image in data_batch['inputs']],
            losses={name: float(value) for name, value in outputs.items()},
            lr=runner.optim_wrapper.get_lr()['lr'][0],
            keys=[key for key in self.keys if key[0] in DRAWN_BY_A_STEP],
            generators=digest_of_generators(),
        )
        self.keys.clear()
        if self.stop_at == runner.iter + 1:
            raise KeyboardInterrupt


def digest_of_generators():
    """Return a digest of the states of all global generators."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()
    return hashlib.sha256(repr(states).encode()).hexdigest()


def note_keys(keys, monkeypatch):
    """Add the key of every counted draw to a list."""
    sequence = np.random.SeedSequence

    def noted(key):
        keys.append(tuple(map(int, key)))
        return sequence(key)

    monkeypatch.setattr(np.random, 'SeedSequence', noted)


def run(config, *, stop_at=None, monkeypatch=None):
    """Train; return the runner and what the iterations saw."""
    recorder = Recorder(stop_at)
    DefaultScope(f'mmwsss_{config.work_dir}', scope_name='mmwsss')
    runner = Runner.from_cfg(config)
    runner.register_hook(recorder)
    if monkeypatch is not None:
        with monkeypatch.context() as patch:
            note_keys(recorder.keys, patch)
            _train(runner, stop_at)
    else:
        _train(runner, stop_at)
    return runner, recorder.iterations


def _train(runner, stop_at):
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop_at


def state_of(runner):
    """Return all tensors that a run ends with by name, and its schedules."""
    model = getattr(runner.model, 'module', runner.model)
    parts = dict(model=model.state_dict())
    for index, state in runner.optim_wrapper.state_dict()['state'].items():
        parts[f'optimizer {index}'] = state
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            parts['average'] = hook.ema_model.state_dict()
    tensors = {
        f'{part} {name}': value.clone()
        for part, state in parts.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return tensors, [scheduler.state_dict() for scheduler in runner.param_schedulers]


def assert_equal_tensors(found, expected, *, tolerance=None):
    """Compare by the bit, or to an absolute tolerance."""
    assert found.keys() == expected.keys()
    assert tree_leaves(found)
    for name, value in expected.items():
        if tolerance is None:
            assert torch.equal(found[name], value), name
        else:
            message = lambda text, name=name: f'{name}: {text}'
            torch.testing.assert_close(
                found[name], value, rtol=0, atol=tolerance, msg=message
            )


def assert_equal_states(one, other):
    """Compare two runners by the bit."""
    (mine, schedules), (theirs, expected) = state_of(one), state_of(other)
    assert any(name.startswith('optimizer') for name in mine)
    assert_equal_tensors(mine, theirs)
    assert schedules == expected
