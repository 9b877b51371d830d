"""Features computed beforehand: what trains on them sees what the network gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from PIL import Image

from mmwsss.apis.feature_cache import cache_features
from mmwsss.apis.seeds import load_tagged_images, loader_of
from mmwsss.datasets.transforms import LoadFeatures
from mmwsss.models.backbones import CachedFeatures
from mmwsss.registry import MODELS, TRANSFORMS
from mmwsss.structures.feature_record import FeatureCodec, FeatureRecord
from mmwsss.utils.errors import ArtefactError, ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs/cam'
RESNET = 'test_resnet'


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmwsss'):
        yield


@pytest.fixture
def config(voc_root):
    """The frozen CAM with a tiny network on a tiny VOC tree."""
    config = Config.fromfile(CONFIGS / 'lite0_frozen_voc.py')
    config.model.backbone.update(
        model_name=RESNET, out_indices=(2, 3), pretrained=False
    )
    return on(voc_root, config)


def on(voc_root, config):
    splits = 'ImageSets/Segmentation'
    loader = config.seed_dataloader
    loader.update(num_workers=0, persistent_workers=False, batch_size=3)
    loader.dataset.update(
        data_root=str(voc_root),
        ann_file=f'{splits}/train.txt',
        tag_file=f'{splits}/train_tags.txt',
    )
    return config


@pytest.fixture
def model(config):
    """The network whose weights are cached; they are drawn by the seed."""
    torch.manual_seed(0)
    channels = sum(MODELS.build(config.model.backbone).channels)
    config.model.head.in_channels = channels
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.eval()


def cached(config, model, folder):
    torch.manual_seed(0)
    images = load_tagged_images(config)
    return images, cache_features(config, model.backbone, images, folder)


def test_maps_of_cached_features_equal_those_of_images(
    config, model, voc_root, tmp_path
):
    """Scores and maps of the image and its mirror image, up to half precision."""
    images, store = cached(config, model, tmp_path / 'features')
    assert sorted(store.keys()) == sorted(images.ids) and len(images.ids) == 8
    other = on(voc_root, Config.fromfile(CONFIGS / 'lite0_cached_voc.py'))
    channels = model.head.in_channels
    other.model.backbone.channels = other.model.head.in_channels = channels
    other.seed_dataloader.dataset.pipeline[0].root = str(tmp_path / 'features')
    reader = MODELS.build(other.model).eval()
    reader.head.load_state_dict(model.head.state_dict())
    for views in (('identity', 'hflip'), ('identity',), ('hflip',)):
        model.inference_views.views = reader.inference_views.views = views
        expected, found = (
            [s for b in loader_of(c, i, images.ids) for s in m.test_step(b)]
            for c, m, i in (
                (config, model, images),
                (other, reader, load_tagged_images(other)),
            )
        )
        for one, two in zip(expected, found):
            assert one.ori_shape == two.ori_shape
            scores = one.pred_score, two.pred_score
            torch.testing.assert_close(*scores, rtol=2e-3, atol=2e-3)
            maps = one.localization.data, two.localization.data
            torch.testing.assert_close(*maps, rtol=0, atol=2e-2)


def test_an_interrupted_cache_goes_on(config, model, tmp_path, monkeypatch):
    folder = tmp_path / 'features'
    images, store = cached(config, model, folder)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    first, *_ = sorted(folder.glob('*.features'))
    first.write_bytes(first.read_bytes()[:-1])
    asked = []
    read = images.dataset.prepare_data
    monkeypatch.setattr(
        images.dataset, 'prepare_data', lambda i: asked.append(i) or read(i)
    )
    cache_features(config, model.backbone, images, folder)
    assert [images.ids[i] for i in asked] == [first.stem]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_features_of_other_weights_are_refused(config, model, tmp_path):
    images, _ = cached(config, model, tmp_path)
    with torch.no_grad():
        next(model.backbone.parameters()).add_(1)
    with pytest.raises(ArtefactError, match='features of another checkpoint'):
        cache_features(config, model.backbone, images, tmp_path)


def test_a_backbone_that_is_trained(config, model, tmp_path):
    images = load_tagged_images(config)
    model.backbone.cnn.conv1.requires_grad_(True)
    with pytest.raises(ConfigError, match=r"conv1.*is trained.*frozen=\(''"):
        cache_features(config, model.backbone, images, tmp_path)


def test_flips_of_the_pipeline_reach_the_mirror_images_features(tmp_path):
    pairs = np.arange(2 * 3 * 5, dtype=np.float16).reshape(5, 2, 3)
    store_one(tmp_path, FeatureRecord(pairs, (20, 30)))
    flip = TRANSFORMS.build(dict(type='RandomFlip', prob=1.0))
    results = LoadFeatures(str(tmp_path))(dict(img_path='folder/one.jpg'))
    assert results['img'].dtype == np.float32
    assert (results['img_shape'], results['ori_shape']) == ((2, 3), (20, 30))
    assert np.array_equal(results['img'].transpose(2, 0, 1), pairs)
    assert np.array_equal(flip(results)['img'].transpose(2, 0, 1), pairs[..., ::-1])


def test_labels_of_a_segmentor_turn_with_the_features(tmp_path):
    """Labels shrink by themselves; the picked half is the mirror image's."""
    config = Config.fromfile(
        CONFIGS.parent / 'segmentation/deeplabv2_lite0_cached_voc.py'
    )
    pairs = np.arange(2 * 3 * 5, dtype=np.float16).reshape(5, 2, 3)
    pairs[-1] = [-1, 0, 1]
    store_one(tmp_path / 'store', FeatureRecord(pairs, (8, 8)))
    label = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(label).save(tmp_path / 'one.png')
    steps = config.train_dataloader.dataset.pipeline[1:]
    steps[0].root = str(tmp_path / 'store')
    steps[2].transforms[0].scale = (4, 4)
    with DefaultScope.overwrite_default_scope('mmseg'):
        for flipped in (False, True):
            steps[3].prob = float(flipped)
            given = dict(
                img_path='one.jpg',
                seg_map_path=str(tmp_path / 'one.png'),
                seg_fields=[],
                reduce_zero_label=False,
                label_map=None,
            )
            results = Compose(steps)(given)
            expected = label[::2, ::2][:, :: -1 if flipped else 1]
            found = results['data_samples'].gt_sem_seg.data
            assert np.array_equal(found[0], expected)
            backbone = CachedFeatures(channels=2)
            (features,) = backbone(results['inputs'][None])
            half = pairs[2:4][..., ::-1] if flipped else pairs[:2]
            assert np.array_equal(features[0], half)


def store_one(folder, record):
    from mmwsss.utils.artefact_store import ArtefactStore

    store = ArtefactStore.create(folder, FeatureCodec(), dict(config='x'))
    store.write('one', record)


def test_missing_features(tmp_path):
    with pytest.raises(ArtefactError, match=r'manifest.json is missing'):
        LoadFeatures(str(tmp_path))(dict(img_path='one.jpg'))
    store_one(tmp_path, FeatureRecord(np.zeros((3, 2, 2), np.float16), (4, 4)))
    with pytest.raises(ArtefactError, match=r'two.features is missing'):
        LoadFeatures(str(tmp_path))(dict(img_path='two.jpg'))


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'[]\n',
        b'{"shape": [1, 1, 1]}\n\0\0',
        b'{"shape": [1, 1, -1], "ori_shape": [1, 1]}\n',
        b'{"shape": [1, 1, true], "ori_shape": [1, 1]}\n\0\0',
        b'{"shape": [1, 1, 2], "ori_shape": [1, 1]}\n\0\0',
        b'{"shape": [1, 1], "ori_shape": [1, 1]}\n\0\0',
    ],
)
def test_bytes_that_are_no_record(content):
    with pytest.raises(ValueError):
        FeatureCodec().decode(content)


def test_a_record_returns_as_it_was():
    pairs = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float16)
    found = FeatureCodec().decode(FeatureCodec().encode(FeatureRecord(pairs, (7, 9))))
    assert np.array_equal(found.pairs, pairs) and found.ori_shape == (7, 9)
