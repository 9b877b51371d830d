"""Inference on own images: what it finds, from which inputs, and what it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from pseudo_label_run import (
    ROOT,
    keep_images,
    one_thread,
    run_tool,
    write_checkpoint,
    write_config,
)

from mmwsss.apis import WSSSInferencer
from mmwsss.datasets.transforms import LoadImage
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import CheckpointError, ConfigError, DataError

COUNT = 3
NAMES = [f'2007_00000{n}' for n in range(1, COUNT + 1)]
TAGS = [['aeroplane', 'person'], ['cat'], ['dog', 'chair']]
"""Those of the images, one pair out of the data set's order."""


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('inference')


@pytest.fixture
def root(voc_root):
    """Three images and no masks."""
    keep_images(voc_root, COUNT)
    shutil.rmtree(voc_root / 'SegmentationClass')
    return voc_root


@pytest.fixture
def acr(root, tmp_path):
    """Config and checkpoint of a tiny ACR with random weights."""
    config = write_config(tmp_path, root)
    return config, write_checkpoint(tmp_path / 'tiny.pth', config)


@pytest.fixture
def look(acr):
    return WSSSInferencer(*acr, device='cpu', show_progress=False)


@pytest.fixture
def files(root):
    return [str(root / f'JPEGImages/{name}.jpg') for name in NAMES]


def embedded(place, name):
    """Name and random weights of a config of the embedded data."""
    config = ROOT / f'configs/{name}.py'
    path = place / f'{name.replace("/", "_")}.pth'
    if not path.exists():
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmwsss'):
            model = MODELS.build(Config.fromfile(config).model)
        torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return name, path


def same(first, second):
    """Whether two predictions agree but for names, paths and rounding."""
    assert first['tags'] == second['tags']
    scores = [list(p['scores'].values()) for p in (first, second)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    np.testing.assert_allclose(first['localization'], second['localization'], atol=2e-3)
    return True


def test_labels_are_those_of_generate_pseudo_labels(
    acr, look, files, tmp_path, monkeypatch
):
    with one_thread(monkeypatch):
        run_tool(monkeypatch, *acr, '--out', tmp_path / 'generated')
        look(files, tags=TAGS, out_dir=tmp_path / 'look')
    for name in NAMES:
        wanted = (tmp_path / f'generated/labels/{name}.png').read_bytes()
        assert (tmp_path / f'look/labels/{name}.png').read_bytes() == wanted


def test_maps_and_seeds_are_the_networks(look, files):
    (found,) = look(files[0], tags=['person', 'aeroplane'])['predictions']
    assert found['tags'] == ('aeroplane', 'person')
    assert found['tags_given']
    assert found['image'].shape == (40, 60, 3)
    # the network's own prediction, up-sampled and normalized once more
    sample = look([files[0]], True, tags=['person', 'aeroplane'])['predictions'][0]
    maps = F.interpolate(
        sample.localization.data[None], (40, 60), mode='bilinear', align_corners=True
    )[0].numpy()
    low, high = (f(maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    wanted = (maps - low) / (high - low)
    np.testing.assert_allclose(found['localization'], wanted, atol=2e-3)
    assert found['localization'].dtype == np.float32
    threshold = look.model.background_threshold
    best = found['localization'].argmax(0)
    winner = np.array([1, 15])[best]
    above = found['localization'].max(0) > np.float32(threshold)
    np.testing.assert_array_equal(found['seeds'], np.where(above, winner, 0))


def test_scores_are_probabilities_of_all_classes(look, files):
    (found,) = look(files[1])['predictions']
    sample = look(files[1], return_datasamples=True)['predictions'][0]
    assert isinstance(sample, WSSSDataSample)
    assert list(found['scores']) == list(look.painter.classes[1:])
    np.testing.assert_allclose(
        list(found['scores'].values()), sample.pred_score.numpy(), rtol=1e-6
    )


@pytest.mark.parametrize('threshold', [0.0, 0.5, 1.0])
def test_tags_are_found_by_the_score(acr, files, threshold):
    look = WSSSInferencer(*acr, score_threshold=threshold, show_progress=False)
    (found,) = look(files[2])['predictions']
    over = [name for name, score in found['scores'].items() if score >= threshold]
    assert found['tags'] == tuple(over)
    assert not found['tags_given']
    assert len(found['localization']) == len(over)
    assert (threshold != 1.0) or (found['label'] == 0).all()
    assert (threshold != 0.0) or len(over) == 20


def test_background_threshold_is_that_of_the_seeds(acr, files):
    shares = []
    for threshold in (0.0, 0.4, 1.0):
        look = WSSSInferencer(*acr, background_threshold=threshold, show_progress=False)
        (found,) = look(files[1], tags='cat')['predictions']
        shares.append((found['seeds'] > 0).mean())
    assert shares[0] > shares[1] > shares[2] == 0


def test_all_forms_of_an_image_agree(look, root, tmp_path):
    folder = tmp_path / 'with space, übersicht'
    folder.mkdir()
    with Image.open(root / f'JPEGImages/{NAMES[0]}.jpg') as image:
        image.save(folder / 'a.png')
    array = LoadImage()(dict(img_path=str(folder / 'a.png')))['img']
    forms = [folder, folder / 'a.png', str(folder / 'a.png'), array]
    forms.append((folder / 'a.png').as_uri())
    result = look(forms, tags='person', return_vis=True)
    first, *others = result['predictions']
    assert [p['name'] for p in result['predictions']] == ['a', 'a', 'a', 'array_3', 'a']
    assert result['predictions'][3]['path'] is None
    assert all(
        p['path'] == str(folder / 'a.png') for p in (first, others[0], others[3])
    )
    for other in others:
        assert same(first, other)
        np.testing.assert_array_equal(first['label'], other['label'])
        np.testing.assert_array_equal(first['image'], other['image'])
    np.testing.assert_array_equal(first['image'], array[..., ::-1])
    pictures = result['visualization']
    assert len(pictures) == len(forms)
    assert all((p == pictures[0]).all() and p.dtype == np.uint8 for p in pictures)


def test_batches_change_nothing(look, files):
    tags = [*TAGS[:2], None]
    one = look(files, tags=tags)['predictions']
    three = look(files, batch_size=3, tags=tags)['predictions']
    assert [p['name'] for p in three] == NAMES
    assert [p['tags_given'] for p in three] == [True, True, False]
    assert all(same(*pair) for pair in zip(one, three))


def test_maps_do_not_depend_on_neighbours_of_another_size(place, root):
    name, weights = embedded(place, 'cam/embedded')
    look = WSSSInferencer(name, weights, show_progress=False)
    images = [
        np.random.default_rng(i).integers(0, 255, s, np.uint8)
        for i, s in enumerate(((40, 64, 3), (72, 48, 3)))
    ]
    alone = [look(image, tags='brush')['predictions'][0] for image in images]
    together = look(images, batch_size=2, tags='brush')['predictions']
    assert all(same(*pair) for pair in zip(alone, together))


def test_affinity_of_points(look, files):
    """60x40 pixels on 4x4 patches: a patch is 15 columns wide."""
    points = [(14.9, 0), None, (0, 0)]
    found = look(files, tags='cat', point=points)['predictions']
    assert [p['point'] for p in found] == points
    assert found[1]['affinity'] is None
    first = found[0]['affinity']
    assert (first.shape, first.dtype) == ((40, 60), np.float32)
    assert first.min() == 0
    assert first.max() == pytest.approx(1, abs=1e-4)
    same, other = (
        look(files[0], tags='cat', point=p)['predictions'][0]['affinity']
        for p in ((0, 5), (15, 0))
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize('name', ['cam/embedded', 'rca/embedded'])
def test_other_classifiers_by_name_of_their_config(place, name):
    look = WSSSInferencer(*embedded(place, name), show_progress=False)
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    (found,) = look(image, tags=['camera', 'beetle'], refiner='threshold')[
        'predictions'
    ]
    assert found['tags'] == ('camera', 'beetle')
    assert found['localization'].shape == (2, 96, 96)
    # without refinement the label is the seeds, at the same threshold
    np.testing.assert_array_equal(found['label'], found['seeds'])
    with pytest.raises(ConfigError, match='Classifier has none of: leave it out, or'):
        look(image, point=(1, 1))


def test_segmentor_gives_its_label(place):
    config = ROOT / 'configs/segmentation/deeplabv2_embedded.py'
    weights = place / 'segmentor.pth'
    loaded = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(loaded.model).eval()
    torch.save(dict(state_dict=model.state_dict(), meta={}), weights)
    look = WSSSInferencer(config, weights, device='cpu', show_progress=False)
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    (found,) = look(image)['predictions']
    batch = dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)], data_samples=None)
    inputs = model.data_preprocessor(batch)['inputs']
    with torch.no_grad():
        logits = model.encode_decode(inputs, [dict(img_shape=(96, 96))])
    wanted = logits.argmax(1)[0].numpy()
    np.testing.assert_array_equal(found['label'], wanted)
    names = loaded.metainfo.classes
    assert found['tags'] == tuple(names[i] for i in np.unique(wanted) if i)
    assert found['localization'] is found['seeds'] is None
    for setting in (dict(tags='torch'), dict(point=(1, 1)), dict(refiner='pamr')):
        with pytest.raises(ConfigError, match=f'{next(iter(setting))} is for class'):
            look(image, **setting)


def test_classes_and_colours_of_the_checkpoint_come_first(acr, files, root):
    config, weights = acr
    content = torch.load(weights, weights_only=True)
    names = ('background', *(f'class {n}' for n in range(20)))
    content['meta'] = dict(dataset_meta=dict(classes=names))
    torch.save(content, weights)
    look = WSSSInferencer(config, weights, show_progress=False)
    (found,) = look(files[0], tags='class 3')['predictions']
    assert found['tags'] == ('class 3',)
    assert len(look.painter.palette) == 21
    renamed = WSSSInferencer(
        config, weights, classes=['nothing', *map(str, range(20))], show_progress=False
    )
    assert renamed(files[0], tags='7')['predictions'][0]['tags'] == ('7',)


def test_work_directory_stands_for_its_last_checkpoint(acr, files, tmp_path):
    config, weights = acr
    (tmp_path / 'run').mkdir()
    shutil.copy(weights, tmp_path / 'run/epoch_1.pth')
    (tmp_path / 'run/last_checkpoint').write_text('/gone/run/epoch_1.pth')
    settings = dict(device='cpu', show_progress=False)
    one = WSSSInferencer(config, weights, **settings)(files[0])
    two = WSSSInferencer(Config.fromfile(config), tmp_path / 'run', **settings)(
        files[0]
    )
    assert same(one['predictions'][0], two['predictions'][0])


def test_nothing_global_is_left(acr, files):
    before = DefaultScope.get_current_instance()
    grad = torch.is_grad_enabled()
    WSSSInferencer(*acr, show_progress=False)(files[0], point=(1, 1))
    assert DefaultScope.get_current_instance() is before
    assert torch.is_grad_enabled() is grad


def test_settings_that_do_not_exist(acr, files, look, tmp_path):
    with pytest.raises(
        ConfigError, match=r'no config acr/vit_hybrid: .* such as acr/v'
    ):
        WSSSInferencer('acr/vit_hybrid', acr[1])
    with pytest.raises(CheckpointError, match=f'no checkpoint at {tmp_path}/none.pth'):
        WSSSInferencer(acr[0], tmp_path / 'none.pth')
    with pytest.raises(ConfigError, match="device 'turbo' cannot be used here"):
        WSSSInferencer(*acr, device='turbo')
    for name in ('score_threshold', 'background_threshold'):
        with pytest.raises(
            ConfigError, match=rf'{name}: expected a number in \[0, 1\]'
        ):
            WSSSInferencer(*acr, **{name: 1.5})
    with pytest.raises(ConfigError, match='2 classes for a model of 21: give all 21'):
        WSSSInferencer(*acr, classes=['background', 'cat'])
    with pytest.raises(ConfigError, match='no refiner'):
        look(files[0], refiner='magic')
    with pytest.raises(ConfigError, match='batch_size: expected >= 1, got 0'):
        look(files[0], batch_size=0)
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        look(files[0], tag='cat')


def test_models_that_are_no_classifiers(acr, place, tmp_path):
    config, weights = embedded(place, 'refinement/psa_embedded')
    with pytest.raises(ConfigError, match=r'of a PSANetwork; inference runs .*psa'):
        WSSSInferencer(config, weights)
    with pytest.raises(CheckpointError, match='does not fit|none of the weights'):
        WSSSInferencer(acr[0], weights)
    without = Config.fromfile(acr[0])
    for name in ('seed', 'test', 'val'):
        without[f'{name}_dataloader'] = None
    with pytest.raises(ConfigError, match='none of seed_dataloader, test_dataloader'):
        WSSSInferencer(without, acr[1])


def test_classes_that_nobody_names(acr):
    config = Config.fromfile(acr[0])
    for name in ('seed', 'test'):
        config[f'{name}_dataloader'].dataset.type = 'TagDataset'
    with pytest.raises(ConfigError, match='nor the config names classes: give all 21'):
        WSSSInferencer(config, acr[1])


def test_folder_without_images_and_torn_files(look, files, tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(DataError, match=rf'{empty} has no image: expected .*\.png'):
        look(empty)
    torn = tmp_path / 'torn.jpg'
    torn.write_bytes(Path(files[0]).read_bytes()[:300])
    with pytest.raises(
        DataError, match=f'image cannot be read: {torn} .* leave it out'
    ):
        look(torn)
    with pytest.raises(DataError, match='image cannot be read: ftp://a/b.jpg'):
        look('ftp://a/b.jpg')


def test_class_and_point_that_are_not_there(look, files, tmp_path):
    with pytest.raises(ConfigError, match="no class 'unicorn' .* aeroplane, bicycle"):
        look(files[0], tags='unicorn')
    for point in ((60, 0), (0, 40), (-1, 0)):
        with pytest.raises(DataError, match=r'000001.jpg: the point .* 0 to 59, rows'):
            look(files[0], point=point)


def test_maps_that_are_not_finite(acr, files):
    config, weights = acr
    content = torch.load(weights, weights_only=True)
    content['state_dict']['backbone.vit.patch_embed.proj.bias'].fill_(torch.nan)
    torch.save(content, weights)
    look = WSSSInferencer(config, weights, show_progress=False)
    with pytest.raises(CheckpointError, match=f'the maps of {files[0]} are not finite'):
        look(files[0], tags='cat')


def test_images_of_one_name_are_refused_before_any_is_read(look, files, tmp_path):
    shutil.copy(files[0], tmp_path / f'{NAMES[0]}.jpg')
    twins = [files[0], tmp_path / f'{NAMES[0]}.jpg']
    with pytest.raises(DataError, match='would both be written as 2007_000001'):
        look(twins, out_dir=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    assert len(look(twins, tags='cat')['predictions']) == 2
