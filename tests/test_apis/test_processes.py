"""Any number of processes computes what one does: losses, seeds, measurements."""

import pytest
import torch
import torch.distributed as dist
from joined_processes import run_joined
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from pseudo_label_run import (
    files_of,
    keep_images,
    one_thread,
    write_checkpoint,
    write_config,
)

from mmwsss.apis.seeds import generate_seeds, load_classifier, load_tagged_images
from mmwsss.evaluation.metrics import SeedIoUMetric
from mmwsss.registry import DATASETS, MODELS
from mmwsss.structures import WSSSDataSample

JOINT = [5, 2, 7, 0, 3, 6, 1, 4]
EVEN, REPEATED, NOTHING_ELSE = 8, 7, 1
"""How many of these are different images; the rest fill up."""


def make_model():
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ACRClassifier',
            num_classes=4,
            backbone=dict(
                type='AttentionViT',
                img_size=32,
                arch=dict(embed_dim=24, depth=2, num_heads=2, patch_size=8),
            ),
            view=[
                dict(type='DihedralView', elements=('rot90', 'hflip', 'rot270')),
                dict(type='PatchHidingView', probability=0.3),
            ],
            warm_start=dict(type='AttentionWarmStartLoss'),
            localization=dict(start_block=0),
        )
    )


def losses_and_gradients(model, images):
    """Return both of images, (index, whether it only fills up) each."""
    MessageHub.get_instance('processes').update_info_dict(dict(seed=3, iter=5))
    generator = torch.Generator().manual_seed(1)
    indices = [index for index, _ in images]
    inputs = torch.randn(8, 3, 32, 32, generator=generator)[indices]
    samples = [
        WSSSDataSample(metainfo=dict(sample_idx=i, padding=padding)).set_gt_label(
            [i % 4, (i + 1) % 4]
        )
        for i, padding in images
    ]
    losses = model(inputs, samples, mode='loss')
    sum(losses.values()).backward()
    plain = getattr(model, 'module', model)
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def step_jointly(rank):
    found = {}
    for different in (EVEN, REPEATED, NOTHING_ELSE):
        wrapped = MMDistributedDataParallel(
            make_model(), device_ids=None, broadcast_buffers=False
        )
        places = range(rank, 2 if different == NOTHING_ELSE else 8, 2)
        images = [(JOINT[place], place >= different) for place in places]
        losses, gradients = losses_and_gradients(wrapped, images)
        for loss in losses.values():
            dist.all_reduce(loss)
            loss /= 2
        found[different] = losses, gradients
    return found


@pytest.fixture(scope='module')
def steps(tmp_path_factory):
    return run_joined(step_jointly, tmp_path_factory.mktemp('pair'))


@pytest.mark.parametrize('different', [EVEN, REPEATED, NOTHING_ELSE])
def test_losses_and_gradients_of_two_processes_equal_one(steps, different):
    images = [(index, False) for index in JOINT[:different]]
    alone = losses_and_gradients(make_model(), images)
    for pair, expected in zip(steps[0][different], alone):
        assert pair.keys() == expected.keys()
        for name, value in expected.items():
            # None here would be a parameter that no loss reaches.
            assert value is not None and value.abs().max() > 0, name
            torch.testing.assert_close(pair[name], value, rtol=1e-5, atol=1e-6)
    for first, second in zip(steps[0][different], steps[1][different]):
        assert all(torch.equal(first[name], second[name]) for name in first)
    names = ['loss_activation', 'loss_affinity', 'loss_cls', 'loss_cls_view']
    assert sorted(alone[0]) == [*names, 'loss_warm_start']


# ------------------------------------------------------------ seeds, measurements

IMAGES = 5
SAMPLERS = [
    dict(shuffle=False),
    dict(shuffle=True, seed=4),
    dict(shuffle=False, round_up=False),
]


class JointHistogram(SeedIoUMetric):
    """Gives what is summed over all processes as it is."""

    def compute_metrics(self, results):
        return results[0]


def measure(config, checkpoint, folder):
    """Make seeds, and measure under each sampler what this process is dealt."""
    config = Config.fromfile(config)
    images = load_tagged_images(config)
    generate_seeds(config, checkpoint, images, folder)
    model, found = load_classifier(config, checkpoint), []
    loader = dict(config.test_dataloader, batch_size=1)
    loader['dataset'] = DATASETS.build(loader['dataset'])
    for sampler in SAMPLERS:
        metric = JointHistogram()
        metric.dataset_meta = images.dataset.metainfo
        loader['sampler'] = dict(type='DefaultSampler', **sampler)
        dealt = 0
        for batch in Runner.build_dataloader(loader):
            with torch.no_grad():
                samples = model.test_step(batch)
            metric.process({}, [sample.to_dict() for sample in samples])
            dealt += len(samples)
        histogram, count = metric.evaluate(IMAGES)
        found.append(dict(dealt=dealt, histogram=histogram, count=count))
    return found


def measure_jointly(rank, config, checkpoint, folder):
    with pytest.MonkeyPatch.context() as patch, one_thread(patch):
        return measure(config, checkpoint, folder / f'by_{get_world_size()}')


@pytest.fixture
def measured(tmp_path, voc_root):
    """What one, two and three processes have found, and where their seeds lie."""
    keep_images(voc_root, IMAGES)
    config = write_config(tmp_path, voc_root)
    checkpoint = str(write_checkpoint(tmp_path / 'tiny.pth', config))
    found = {}
    for number in (1, 2, 3):
        folder = tmp_path / f'joined_{number}'
        folder.mkdir()
        arguments = str(config), checkpoint, tmp_path
        found[number] = run_joined(measure_jointly, folder, *arguments, number=number)
    return found, tmp_path


def test_any_number_of_processes_gives_the_files_of_one(measured):
    found, folder = measured
    seeds = files_of(folder / 'by_1')
    assert sum(name.endswith('.seed') for name in seeds) == IMAGES
    (alone,) = found[1]
    for number in (2, 3):
        assert files_of(folder / f'by_{number}') == seeds
        for part, expected in enumerate(alone):
            for run in found[number]:
                assert run[part]['count'] == expected['count'] == IMAGES
                assert expected['histogram'].sum() > 0
                assert torch.equal(run[part]['histogram'], expected['histogram'])
    dealt = [[run[part]['dealt'] for run in found[3]] for part in range(len(SAMPLERS))]
    # five images: one fills up, or one process has one less
    assert dealt == [[2, 2, 2], [2, 2, 2], [2, 2, 1]]
