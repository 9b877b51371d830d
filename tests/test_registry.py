"""Child registries: whose children they are, and that builds find their scope."""

import pytest
from mmengine import registry as root
from mmengine.runner import Runner
from tiny_run import tiny_config, without_slow_logging

from mmwsss import registry

CHILDREN = [
    'DATASETS',
    'DATA_SAMPLERS',
    'TRANSFORMS',
    'MODELS',
    'HOOKS',
    'LOOPS',
    'OPTIM_WRAPPERS',
    'METRICS',
    'RUNNERS',
    'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'MODEL_WRAPPERS',
    'EVALUATOR',
    'VISUALIZERS',
    'VISBACKENDS',
    'LOG_PROCESSORS',
]
OWN = ['VIEWS', 'ACCUMULATORS', 'REFINERS']


def test_all_registries_are_listed_here():
    found = {n for n, v in vars(registry).items() if isinstance(v, root.Registry)}
    assert found == {*CHILDREN, *OWN}


@pytest.mark.parametrize('name', CHILDREN)
def test_parent_and_scope(name):
    child = getattr(registry, name)
    assert child.parent is getattr(root, name)
    assert child.scope == 'mmwsss'
    assert getattr(root, name).children['mmwsss'] is child


@pytest.mark.parametrize('name', OWN)
def test_own_registries_have_no_parent(name):
    assert getattr(registry, name).parent is None
    assert getattr(registry, name).scope == 'mmwsss'


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('DATASETS', 'VOCTagDataset'),
        ('DATA_SAMPLERS', 'CountedSampler'),
        ('DATA_SAMPLERS', 'InfiniteCountedSampler'),
        ('TRANSFORMS', 'CountedRandomness'),
        ('MODELS', 'ACRClassifier'),
        ('MODELS', 'AttentionViT'),
        ('HOOKS', 'CountedRandomnessHook'),
        ('LOOPS', 'ResumableEpochLoop'),
        ('OPTIM_WRAPPERS', 'Bf16OptimWrapper'),
        ('METRICS', 'SeedIoUMetric'),
    ],
)
def test_parts_are_found_by_scope_alone(name, kind):
    with getattr(root, name).switch_scope_and_registry('mmwsss') as registry_of_scope:
        assert registry_of_scope.get(kind).__name__ == kind


def test_a_run_searches_no_unknown_scope(tmp_path, voc_root, monkeypatch, capfd):
    """mmengine warns where a scope has no child registry."""
    without_slow_logging(monkeypatch)
    config = tiny_config(tmp_path, voc_root, train_cfg__max_epochs=1)
    config.experiment_name = 'test_registry'
    # Hands its warnings to the log whichever logger the process began with.
    notes = []
    monkeypatch.setattr(
        'mmengine.logging.print_log', lambda text, *_, **__: notes.append(text)
    )
    runner = Runner.from_cfg(config)
    runner.train()
    runner.test()
    assert [note for note in notes if 'Failed to search' in str(note)] == []
    assert 'Failed to search' not in ''.join(capfd.readouterr())
