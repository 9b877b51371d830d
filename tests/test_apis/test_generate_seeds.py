"""Seeds of a tiny classifier: values, restart, shares of processes, bad input."""

import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from pseudo_label_run import (
    files_of,
    keep_images,
    one_thread,
    write_checkpoint,
    write_config,
)

from mmwsss.apis import seeds as seeds_module
from mmwsss.apis.seeds import generate_seeds, load_classifier, load_tagged_images
from mmwsss.datasets.transforms import LoadImage
from mmwsss.structures.seed_record import SeedCodec
from mmwsss.utils.artefact_store import ArtefactStore, shard
from mmwsss.utils.errors import ArtefactError, CheckpointError, ConfigError, DataError

COUNT = 5
IDS = [f'2007_00000{n}' for n in range(1, COUNT + 1)]
TAGS = [(0, 14), (7,), (8, 11), (19,), (6,)]
SIZES = [(40, 60), (60, 40), (48, 64), (44, 50), (40, 72)]


@pytest.fixture
def task(tmp_path, voc_root, monkeypatch):
    """Config and checkpoint; the masks are gone."""
    keep_images(voc_root, COUNT)
    path = write_config(tmp_path, voc_root)
    checkpoint = write_checkpoint(tmp_path / 'tiny.pth', path)
    shutil.rmtree(voc_root / 'SegmentationClass')
    with one_thread(monkeypatch):
        yield Config.fromfile(path), str(checkpoint)


def make(task, folder, **options):
    config, checkpoint = task
    config.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
    return generate_seeds(config, checkpoint, load_tagged_images(config), folder)


@pytest.fixture
def loaded(monkeypatch):
    """Names of the images that are read."""
    names, transform = [], LoadImage.transform

    def note(self, results):
        names.append(results['img_path'].rpartition('/')[2].removesuffix('.jpg'))
        return transform(self, results)

    monkeypatch.setattr(LoadImage, 'transform', note)
    return names


def test_images_and_their_tags(task):
    images = load_tagged_images(task[0])
    assert images.ids == IDS
    assert [path.rpartition('/')[2] for path in images.paths] == [
        f'{name}.jpg' for name in images.ids
    ]
    assert [tuple(tags) for tags in images.tags] == TAGS
    assert images.classes[0] == 'background' and len(images.classes) == 21
    assert images.palette[15] == [192, 128, 128]


def test_records_are_the_models_predictions(task, tmp_path):
    """Read back against one test step of all images."""
    store = make(task, tmp_path / 'seeds')
    config = task[0]
    model = load_classifier(*task)
    loader = {**config.seed_dataloader, 'batch_size': COUNT}
    loader['sampler'] = dict(type='DefaultSampler', shuffle=False)
    (batch,) = Runner.build_dataloader(loader)
    with torch.no_grad():
        samples = model.test_step(batch)
    for number, sample in enumerate(samples):
        record = store.read(f'2007_00000{number + 1}')
        assert record.classes == TAGS[number] == sample.localization.classes
        assert record.ori_shape == SIZES[number]
        assert record.img_shape == record.input_shape == (32, 32)
        expected = sample.localization.data
        assert expected.shape == (len(record.classes), 4, 4) and expected.max() > 0.9
        torch.testing.assert_close(record.tensor(), expected, rtol=0, atol=1e-3)


def test_second_run_reads_no_image(task, tmp_path, loaded):
    make(task, tmp_path / 'seeds')
    assert loaded == load_tagged_images(task[0]).ids
    before = files_of(tmp_path / 'seeds')
    loaded.clear()
    make(task, tmp_path / 'seeds')
    assert loaded == []
    assert files_of(tmp_path / 'seeds') == before


def test_cut_short_and_missing_records_are_made_again(task, tmp_path, loaded):
    store = make(task, tmp_path / 'seeds')
    before = files_of(tmp_path / 'seeds')
    path = store.path('2007_000003')
    path.write_bytes(path.read_bytes()[:-9])
    store.path('2007_000005').unlink()
    loaded.clear()
    make(task, tmp_path / 'seeds')
    assert loaded == ['2007_000003', '2007_000005']
    assert files_of(tmp_path / 'seeds') == before


@pytest.mark.parametrize('count', [2, 3])
def test_processes_write_the_files_of_one(task, tmp_path, monkeypatch, count):
    make(task, tmp_path / 'alone')
    for rank in reversed(range(count)):
        own = shard(IDS, rank, count)
        before = written(tmp_path / 'shared')
        with monkeypatch.context() as process:
            share = lambda store, keys, own=own: own
            process.setattr(seeds_module, 'share_of_pending', share)
            if rank:
                process.setattr(seeds_module, 'finish_store', lambda *_: '')
            make(task, tmp_path / 'shared')
        assert written(tmp_path / 'shared') - before == set(own)
    assert files_of(tmp_path / 'shared') == files_of(tmp_path / 'alone')


def written(folder):
    return {path.stem for path in folder.glob('*.seed')}


def other_checkpoint(task, tmp_path, voc_root):
    path = write_config(tmp_path, voc_root)
    return task[0], str(write_checkpoint(tmp_path / 'other.pth', path, seed=1))


def other_images(task, tmp_path, voc_root):
    keep_images(voc_root, COUNT - 1)
    return task


def other_tags(task, tmp_path, voc_root):
    path = voc_root / 'ImageSets/Segmentation/train_tags.txt'
    path.write_text(path.read_text().replace('tvmonitor', 'sofa'))
    return task


def other_model_settings(task, tmp_path, voc_root):
    task[0].model.localization.kind = 'cam_grad'
    return task


def other_pipeline(task, tmp_path, voc_root):
    task[0].seed_dataloader.dataset.pipeline[1].scale = (64, 64)
    return task


@pytest.mark.parametrize(
    ('change', 'what'),
    [
        (other_checkpoint, 'checkpoint'),
        (other_images, 'data set'),
        (other_tags, 'tags'),
        (other_model_settings, 'config'),
        (other_pipeline, 'config'),
    ],
)
def test_seeds_of_another_origin_are_refused(task, tmp_path, voc_root, change, what):
    folder = tmp_path / 'seeds'
    make(task, folder)
    before = files_of(folder)
    with pytest.raises(ArtefactError, match=f'{folder} holds seeds of another {what} '):
        make(change(task, tmp_path, voc_root), folder)
    assert files_of(folder) == before


def test_autocast_is_mmengines_own(task, tmp_path):
    exact = make(task, tmp_path / 'seeds')
    lower = make(task, tmp_path / 'lower', test_cfg__fp16=True)
    model, images = load_classifier(*task), load_tagged_images(task[0])
    (batch,) = [batch for batch in seeds_module.loader_of(task[0], images, IDS[2:3])]
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        (sample,) = model.test_step(batch)
    maps = lower.read(IDS[2]).maps
    assert (maps == sample.localization.data.half().numpy()).all()
    assert (maps != exact.read(IDS[2]).maps).any()
    with pytest.raises(ArtefactError, match='config'):
        make(task, tmp_path / 'seeds')


def test_what_maps_do_not_depend_on_is_free(task, tmp_path, voc_root):
    store = make(task, tmp_path / 'seeds')
    moved = voc_root.rename(tmp_path / 'moved')
    again = make(
        task,
        tmp_path / 'seeds',
        seed_dataloader__dataset__data_root=str(moved),
        seed_dataloader__num_workers=1,
        work_dir='elsewhere',
    )
    assert again.digest() == store.digest()


def test_predicted_tags_need_no_list(task, tmp_path):
    store = make(
        task, tmp_path, model__tags='predicted', seed_dataloader__dataset__tag_file=None
    )
    found = {store.read(name).classes for name in IDS}
    assert found - set(TAGS)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(seed_dataloader__dataset__tag_file=None),
            'set seed_dataloader.dataset',
        ),
        (
            dict(seed_dataloader__dataset__data_prefix__seg_map_path='Masks'),
            'seeds are made without masks: take seg_map_path off',
        ),
        (dict(model__num_classes=7), 'model has 7 classes, the data set 20'),
    ],
)
def test_configs_that_do_not_fit(task, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        make(task, tmp_path / 'seeds', **options)
    assert not (tmp_path / 'seeds').exists()


def test_config_without_seed_dataloader(task):
    config = task[0]
    config.pop('seed_dataloader')
    with pytest.raises(ConfigError, match='has no seed_dataloader; add one that reads'):
        load_tagged_images(config)


def test_checkpoints_that_do_not_fit(task, tmp_path, voc_root):
    config, checkpoint = task
    with pytest.raises(CheckpointError, match='no checkpoint at nowhere.pth'):
        make((config, 'nowhere.pth'), tmp_path / 'seeds')
    state = torch.load(checkpoint)['state_dict']
    state['cls_head.bias'] = torch.zeros(3)
    torch.save(state, tmp_path / 'three.pth')
    with pytest.raises(CheckpointError, match=r'cls_head.bias is \(3,\) there'):
        make((config, str(tmp_path / 'three.pth')), tmp_path / 'seeds')
    assert not (tmp_path / 'seeds').exists()


def test_diverged_weights_name_checkpoint_and_image(task, tmp_path):
    config, checkpoint = task
    state = torch.load(checkpoint)['state_dict']
    state['cls_head.weight'].fill_(torch.nan)
    torch.save(state, tmp_path / 'diverged.pth')
    message = 'diverged.pth gives maps of 2007_000001 that are not finite'
    with pytest.raises(CheckpointError, match=message):
        make((config, str(tmp_path / 'diverged.pth')), tmp_path / 'seeds')


def test_batches_give_each_image_its_own_maps(task, tmp_path):
    alone = make(task, tmp_path / 'alone')
    batched = make(task, tmp_path / 'batched', seed_dataloader__batch_size=2)
    for name, tags, size in zip(IDS, TAGS, SIZES):
        one, other = alone.read(name), batched.read(name)
        assert other.classes == tags and other.ori_shape == size
        torch.testing.assert_close(other.tensor(), one.tensor(), rtol=0, atol=2e-3)


def test_wrapped_weights_are_the_same_checkpoint(task, tmp_path):
    """As a distributed wrapper names them."""
    config, checkpoint = task
    store = make(task, tmp_path / 'seeds')
    state = torch.load(checkpoint)['state_dict']
    wrapped = {f'module.{name}': weight for name, weight in state.items()}
    torch.save(dict(state_dict=wrapped), tmp_path / 'wrapped.pth')
    again = make((config, str(tmp_path / 'wrapped.pth')), tmp_path / 'seeds')
    assert again.digest() == store.digest()


def test_corrupt_image_stops_and_keeps_what_is_done(task, tmp_path, voc_root, loaded):
    path = voc_root / 'JPEGImages/2007_000003.jpg'
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(DataError, match='2007_000003.jpg'):
        make(task, tmp_path / 'seeds')
    store = ArtefactStore.open(tmp_path / 'seeds', SeedCodec())
    assert store.pending(IDS) == IDS[2:]
    path.write_bytes(content)
    loaded.clear()
    make(task, tmp_path / 'seeds')
    assert loaded == IDS[2:]
