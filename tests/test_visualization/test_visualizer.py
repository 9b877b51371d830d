"""The visualizer hands its pictures to every backend, and says what is missing."""

import json
import re
import sys
import types

import numpy as np
import pytest
import torch
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend
from PIL import Image
from write_faults import REASONS, failing_disk

from mmwsss.registry import VISBACKENDS, VISUALIZERS
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.observation import MemoryState, Observation, ViewAttention
from mmwsss.utils.errors import ArtefactError, ConfigError, DependencyError
from mmwsss.visualization.visualizer import AtomicLocalVisBackend, WSSSVisualizer

META = dict(
    classes=('background', 'cat', 'dog'), palette=[[0, 0, 0], [9, 0, 0], [0, 9, 0]]
)
PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
PICTURES = ['heat_maps', 'attention_views', 'patch_affinity', 'memory_bank']


@VISBACKENDS.register_module(force=True)
class NotedBackend(BaseVisBackend):
    """Keeps what it is given."""

    def __init__(self, save_dir):
        super().__init__(save_dir)
        self.images, self.scalars = {}, {}

    experiment = property(lambda self: self)

    def _init_env(self):
        pass

    def add_image(self, name, image, step=0):
        self.images[name, step] = image

    def add_scalars(self, scalar_dict, step=0, file_path=None):
        self.scalars[step] = scalar_dict


def make(folder, *backends, name='test_visualizer', meta=META):
    # built outside of any run, so that the scope is named
    own = ('NotedBackend', 'AtomicLocalVisBackend')
    configs = [dict(type=f'mmwsss.{b}' if b in own else b) for b in backends]
    visualizer = VISUALIZERS.build(
        dict(
            type='WSSSVisualizer',
            name=name,
            vis_backends=configs,
            save_dir=str(folder),
        )
    )
    visualizer.dataset_meta = meta
    return visualizer


def observation(*, with_views):
    sample = WSSSDataSample(metainfo=dict(img_path='a.jpg'))
    sample.set_pred_score(torch.tensor([0.5, 0.25]))
    sample.set_localization(
        torch.rand(1, 2, 2), [1], input_shape=(4, 4), align_corners=False
    )
    inputs, views = torch.rand(3, 4, 4), None
    if with_views:
        attention = [torch.full((5, 5), 0.2)]
        views = ViewAttention(inputs, (2, 2), attention, attention, attention)
    image = (inputs * 255).to(torch.uint8)
    return Observation(image, inputs, sample, views)


def memory():
    valid = torch.tensor([[True, True], [True, False]])
    rows = torch.rand(2, 2, 3)
    return MemoryState(rows, valid, rows[:, :1], valid.all(1))


def test_pictures_and_scalars_of_all_that_there_is(tmp_path):
    visualizer = make(tmp_path, 'NotedBackend')
    backend = visualizer.get_backend('NotedBackend')
    both = [observation(with_views=True), observation(with_views=False)]
    visualizer.add_observations(both, memory(), step=30, epoch=2)
    assert list(backend.images) == [(name, 30) for name in PICTURES]
    for pixels in backend.images.values():
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
        assert pixels.std() > 1
    assert backend.scalars == {
        30: {
            'views/activation_l1': 0,
            'views/affinity_l1': 0,
            'memory/occupancy': 0.75,
            'memory/classes_with_prototypes': 0.5,
        }
    }
    # mmengine's own way to it, which metrics take
    assert Visualizer.get_current_instance() is visualizer


def test_pictures_of_a_plain_classifier(tmp_path):
    visualizer = make(tmp_path, 'NotedBackend')
    backend = visualizer.get_backend('NotedBackend')
    visualizer.add_observations([observation(with_views=False)], step=1, epoch=1)
    assert list(backend.images) == [('heat_maps', 1)]
    assert backend.scalars == {}


def test_equal_pictures_are_equal_files(tmp_path):
    seen = [observation(with_views=True)]
    for name in ('one', 'two'):
        visualizer = make(tmp_path / name, 'AtomicLocalVisBackend', name=name)
        visualizer.add_observations(seen, step=4, epoch=1)
    first, second = (
        {p.name: p.read_bytes() for p in (tmp_path / name).rglob('*.png')}
        for name in ('one', 'two')
    )
    assert set(first) == {f'{name}_4.png' for name in PICTURES[:3]}
    assert first == second
    lines = (tmp_path / 'one/vis_data/scalars.json').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [4]


def test_palette_of_a_data_set_without_one(tmp_path):
    meta = dict(classes=tuple(f'c{i}' for i in range(30)))
    palette = make(tmp_path, meta=meta).painter().palette
    assert palette[0] == [0, 0, 0]
    assert len({tuple(colour) for colour in palette}) == 30


@pytest.mark.parametrize('meta', [None, {}, dict(classes=())])
def test_unnamed_classes_are_refused(tmp_path, meta):
    visualizer = make(tmp_path, 'NotedBackend', meta=meta)
    with pytest.raises(
        ConfigError, match="give its METAINFO 'classes', the background"
    ):
        visualizer.add_observations([observation(with_views=False)], step=1, epoch=1)


# ------------------------------------------------------------------ backends


def test_local_pictures_are_whole_files(tmp_path):
    backend = AtomicLocalVisBackend(str(tmp_path / 'new'))
    backend.add_image('a', PIXELS, 3)
    backend.add_image('a', PIXELS[::-1], 3)
    (path,) = (p for p in (tmp_path / 'new').rglob('*') if p.is_file())
    assert path == tmp_path / 'new/vis_image/a_3.png'
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), PIXELS[::-1])


def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    visualizer = make(tmp_path, 'AtomicLocalVisBackend')
    folder = tmp_path / 'vis_data/vis_image'
    folder.parent.mkdir(parents=True)
    folder.write_text('in its place')
    message = re.escape(f'cannot write {folder}/a_7.png: a part of the path is a file')
    with pytest.raises(ArtefactError, match=message):
        visualizer.add_image('a', PIXELS, 7)


@pytest.mark.parametrize('code', REASONS)
def test_faults_of_the_disk_leave_whole_pictures(tmp_path, code):
    visualizer = make(tmp_path, 'AtomicLocalVisBackend')
    visualizer.add_image('a', PIXELS, 1)
    before = {p.name: p.read_bytes() for p in tmp_path.rglob('*.png')}
    refused = pytest.raises(ArtefactError, match=f'a_1.png: .*{REASONS[code]}')
    with refused, failing_disk(tmp_path, at=1, code=code):
        visualizer.add_image('a', PIXELS[::-1], 1)
    assert {p.name: p.read_bytes() for p in tmp_path.rglob('*.png')} == before


def test_tensorboard_reads_the_pictures_back(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    visualizer = make(tmp_path, 'TensorboardVisBackend')
    for step in (30, 60):
        seen = [observation(with_views=True)]
        visualizer.add_observations(seen, memory(), step=step, epoch=step // 30)
    visualizer.close()
    events = EventAccumulator(str(tmp_path / 'vis_data')).Reload()
    assert sorted(events.Tags()['images']) == sorted(PICTURES)
    assert [event.step for event in events.Images('memory_bank')] == [30, 60]
    occupancy = events.Scalars('memory/occupancy')
    assert [(e.step, e.value) for e in occupancy] == [(30, 0.75), (60, 0.75)]


@pytest.fixture
def wandb(monkeypatch):
    """What mmengine's backend calls of wandb, noted."""
    module = types.ModuleType('wandb')
    module.logged, module.started = [], []
    module.init = lambda **settings: module.started.append(settings)
    module.log = lambda values, commit: module.logged.append((values, commit))
    module.Image = lambda pixels: pixels.shape
    monkeypatch.setitem(sys.modules, 'wandb', module)
    return module


def test_wandb_is_logged_to(tmp_path, wandb):
    visualizer = make(tmp_path, 'WandbVisBackend')
    visualizer.add_observations(
        [observation(with_views=True)], memory(), step=3, epoch=1
    )
    assert wandb.started == [dict(dir=str(tmp_path / 'vis_data'))]
    *images, (scalars, _) = wandb.logged
    assert [next(iter(values)) for values, _ in images] == PICTURES
    assert all(shape[2] == 3 for values, _ in images for shape in values.values())
    assert scalars['memory/occupancy'] == 0.75


@pytest.mark.parametrize(
    ('backend', 'module', 'package'),
    [
        ('TensorboardVisBackend', 'torch.utils.tensorboard', 'tensorboard'),
        ('mmengine.TensorboardVisBackend', 'torch.utils.tensorboard', 'tensorboard'),
        ('WandbVisBackend', 'wandb', 'wandb'),
    ],
)
def test_a_package_that_is_missing_is_named(
    tmp_path, monkeypatch, backend, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    message = (
        f'{backend.rpartition(".")[2]} needs {package}, .* pip install {package}, or'
    )
    with pytest.raises(DependencyError, match=message):
        make(tmp_path, backend)


def test_one_backend_needs_no_list(tmp_path):
    visualizer = WSSSVisualizer(
        'one', vis_backends=dict(type='mmwsss.NotedBackend'), save_dir=str(tmp_path)
    )
    assert visualizer.get_backend('NotedBackend').images == {}
