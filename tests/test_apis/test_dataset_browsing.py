"""Browsed samples against a real training, plain decoding, and views undone by hand."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from tiny_run import ROOT, tiny_config, without_slow_logging

from mmwsss.apis.dataset_browsing import (
    Colours,
    NetworkEyes,
    choose_indices,
    first_pass,
    fit_labels,
    tags_of,
)
from mmwsss.apis.view_inversion import invert_tokens
from mmwsss.datasets.synthetic import (
    SYNTHETIC_METAINFO,
    SyntheticSettings,
    write_synthetic,
)
from mmwsss.functional.views import DIHEDRAL, inverse_token_order, permute_attention
from mmwsss.models.views import build_view
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.randomness import CountedIndex, StepDraws

STRIDE = 4
LARGE = 20
DRAWS = StepDraws(3, 5, (7,))


def picture(rows, columns, seed=0):
    """Patches of random colours with random detail, (3, H, W) uint8."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 200, (3, rows, columns))
    detail = generator.integers(0, 56, (3, rows * STRIDE, columns * STRIDE))
    pixels = patches.repeat(STRIDE, 1).repeat(STRIDE, 2) + detail
    return torch.from_numpy(pixels.astype(np.uint8))


def patch_means(image):
    """(gh, gw, 3), by a loop."""
    rows, columns = (side // STRIDE for side in image.shape[-2:])
    means = np.empty((rows, columns, 3))
    for i, j in np.ndindex(rows, columns):
        patch = image[:, i * STRIDE : (i + 1) * STRIDE, j * STRIDE : (j + 1) * STRIDE]
        means[i, j] = patch.double().mean((1, 2))
    return means


def dihedral(*names):
    return dict(type='DihedralView', elements=names)


def inverted(config, image):
    view, restore = build_view(config)(image[None].double(), stride=STRIDE, draws=DRAWS)
    view = view[0].round().clamp(0, 255).to(torch.uint8)
    return view, invert_tokens(image, view, restore, stride=STRIDE)


@pytest.mark.parametrize('grid', [(5, 5), (2, 6)])
@pytest.mark.parametrize(
    'config',
    [*map(dihedral, DIHEDRAL), [dihedral('rot90'), dihedral('vflip')]],
    ids=str,
)
def test_views_that_move_patches_come_back_exactly(config, grid):
    image = picture(*grid)
    view, found = inverted(config, image)
    assert found.largest == found.mean == 0
    np.testing.assert_array_equal(found.tokens, patch_means(image))
    expected = patch_means(view).reshape(-1, 3) - patch_means(image).reshape(-1, 3)
    assert found.unmoved == pytest.approx(np.abs(expected).max(1).mean())


def order_of(name):
    return inverse_token_order(name, (5, 5))


WRONG = {
    'not moved': lambda a: a,
    'turned the wrong way': lambda a: permute_attention(a, order_of('rot90').argsort()),
    'columns alone': lambda a: a.index_select(2, order_of('rot90')),
    'rows alone': lambda a: a.index_select(1, order_of('rot90')),
    'one too far': lambda a: permute_attention(
        a, torch.cat([order_of('rot90')[:1], order_of('rot90')[1:].roll(1)])
    ),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_way_back_is_seen(name):
    image = picture(5, 5)
    found = invert_tokens(image, image.rot90(1, (1, 2)), WRONG[name], stride=STRIDE)
    assert found.mean > LARGE
    assert found.largest > 2 * LARGE


def test_two_tokens_exchanged_are_seen_where_they_are():
    image = picture(5, 5)
    order = order_of('hflip')
    order[[7, 13]] = order[[13, 7]]
    restore = lambda a: permute_attention(a, order)
    found = invert_tokens(image, image.flip(2), restore, stride=STRIDE)
    assert set(found.difference.flatten().nonzero().flatten().tolist()) == {6, 12}


def test_colours_that_the_view_changes_are_the_difference():
    image = picture(5, 5)
    restore = lambda a: permute_attention(a, order_of('hflip'))
    found = invert_tokens(image, 255 - image.flip(2), restore, stride=STRIDE)
    expected = np.abs(255 - 2 * patch_means(image)).max(-1)
    np.testing.assert_allclose(found.difference, expected, atol=1e-9)


def test_hidden_patches_are_the_difference():
    image = picture(5, 5)
    hiding = dict(type='PatchHidingView', probability=0.3)
    view, found = inverted([dihedral('rot270'), hiding], image)
    turned = image.rot90(3, (1, 2))
    hidden = np.abs(patch_means(view) - patch_means(turned)).max(-1) > 0
    assert 0 < hidden.sum() < 25
    np.testing.assert_array_equal(found.difference > 0, np.rot90(hidden, 1))


@pytest.mark.parametrize(
    ('config', 'grids'),
    [
        (dict(type='ResizeView', factor=(0.5, 0.5)), [(6, 8)]),
        (dict(type='ResizeView', factor=(1.5, 1.5)), [(6, 8)]),
        ([dict(type='ResizeView', factor=(0.5, 0.5))] * 2, [(3, 4), (6, 8)]),
    ],
)
def test_resized_views_are_interpolated(config, grids):
    image = picture(6, 8)
    view, found = inverted(config, image)
    tokens = torch.from_numpy(patch_means(view)).permute(2, 0, 1)[None]
    for grid in grids:
        tokens = F.interpolate(tokens, size=grid, mode='bilinear', align_corners=False)
    tokens = tokens[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found.tokens, tokens, atol=1e-4)
    expected = np.abs(tokens - patch_means(image)).max(-1)
    np.testing.assert_allclose(found.difference, expected, atol=1e-3)
    assert found.unmoved is None


def test_a_way_back_to_another_number_of_tokens():
    image = picture(2, 2)
    with pytest.raises(ValueError, match='expected 4 tokens of the image, got 2'):
        invert_tokens(image, image, lambda a: a[:, :3, :3], stride=STRIDE)


PREPROCESSORS = [
    dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=8,
    ),
    dict(type='ImgDataPreprocessor', mean=[10.0, 20.0, 30.0], std=[1.0, 2.0, 3.0]),
    dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(16, 16),
        test_cfg=dict(size_divisor=16),
    ),
]


@pytest.mark.parametrize('config', PREPROCESSORS, ids=lambda c: c['type'])
def test_colours_come_back(config):
    preprocessor = MODELS.build(config)
    bgr = np.random.default_rng(1).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    data = dict(
        inputs=[torch.from_numpy(bgr).permute(2, 0, 1)],
        data_samples=[WSSSDataSample()],
    )
    inputs = preprocessor(data, False)['inputs']
    pixels = Colours(preprocessor).pixels(inputs[0])
    np.testing.assert_array_equal(pixels[:12], bgr[..., ::-1])


def test_a_page_of_indices():
    assert choose_indices(10, start=0, count=3) == [0, 1, 2]
    assert choose_indices(10, start=8, count=3) == [8, 9]
    pages = [choose_indices(10, start=s, count=5, shuffle=4) for s in (0, 5)]
    assert sorted(sum(pages, [])) == list(range(10))
    assert pages[0] == choose_indices(10, start=0, count=5, shuffle=4)
    assert pages[0] != choose_indices(10, start=0, count=5, shuffle=5)


@pytest.mark.parametrize(('start', 'count'), [(10, 1), (-1, 1), (0, 0)])
def test_an_empty_page(start, count):
    with pytest.raises(ConfigError, match=r'no image is there, the split has 10 '):
        choose_indices(10, start=start, count=count)


def test_first_pass_is_the_samplers():
    loader = ConfigDict(batch_size=3, sampler=dict(type='mmwsss.CountedSampler'))
    places = first_pass(loader, range(11), seed=5)
    order = list(DefaultSampler(range(11), seed=5))
    assert [int(index) for index in places] == order
    assert [place.iteration for place in places.values()] == [
        0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3
    ]  # fmt: skip
    keys = {(type(p.index), p.index.seed, p.index.epoch) for p in places.values()}
    assert keys == {(CountedIndex, 5, 0)}
    plain = first_pass(ConfigDict(), range(3), seed=5)
    assert [place.iteration for place in plain.values()] == [0, 1, 2]


def test_labels_are_brought_to_the_input():
    mask = np.array([[1, 2], [3, 255]], np.uint8)
    assert fit_labels(mask, (2, 2), (2, 2)) is mask
    expected = [
        [1, 1, 2, 2, 255],
        [1, 1, 2, 2, 255],
        [3, 3, 255, 255, 255],
        [255, 255, 255, 255, 255],
    ]
    assert fit_labels(mask, (3, 4), (4, 5)).tolist() == expected
    assert fit_labels(mask, (1, 1), (1, 1)).tolist() == [[1]]


def test_tags_are_the_images_own_or_the_masks():
    labels = np.array([[0, 3, 255, 1]], np.uint8)
    assert tags_of(WSSSDataSample().set_gt_label([4, 2]), labels) == (2, 4)
    assert tags_of(WSSSDataSample(), labels) == (0, 2)
    assert tags_of(WSSSDataSample(), None) is None


class Witness(Hook):
    """Notes by sample what entered the backbone."""

    def __init__(self):
        self.inputs, self.seen = [], {}

    def before_train(self, runner):
        note = lambda module, args: self.inputs.append(args[0].clone())
        runner.model.backbone.register_forward_pre_hook(note)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        first, second = self.inputs.pop().chunk(2)
        for sample, *views in zip(data_batch['data_samples'], first, second):
            self.seen[int(sample.sample_idx)] = views


def test_both_views_are_those_of_a_real_training(tmp_path, voc_root, monkeypatch):
    without_slow_logging(monkeypatch)
    options = dict(train_cfg__max_epochs=1, randomness__seed=11)
    eyes = NetworkEyes(tiny_config(tmp_path, voc_root, **options), 'train')
    samples = [eyes.see(index) for index in range(len(eyes))]
    DefaultScope('mmwsss_test_browsing', scope_name='mmwsss')
    runner = Runner.from_cfg(tiny_config(tmp_path, voc_root, **options))
    witness = Witness()
    runner.register_hook(witness)
    runner.train()
    preprocessor = runner.model.data_preprocessor
    assert len(samples) == len(witness.seen) == 8
    for sample in samples:
        for picture_, entered in zip(
            (sample.image, sample.view.image), witness.seen[sample.index]
        ):
            levels = (entered * preprocessor.std + preprocessor.mean).round()
            expected = levels.clamp(0, 255).permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(picture_, expected)
    # a third of the patches is hidden, all others are back in their places
    shares = [(sample.view.difference == 0).mean() for sample in samples]
    assert 0.5 < np.mean(shares) < 0.9


def test_a_split_with_masks_by_plain_decoding(tmp_path, voc_root):
    eyes = NetworkEyes(tiny_config(tmp_path, voc_root), 'test')
    sample = eyes.see(2)
    assert (sample.name, sample.view) == ('2007_000003', None)
    photo = np.asarray(Image.open(voc_root / 'JPEGImages/2007_000003.jpg'))
    expected = cv2.resize(photo, (32, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(sample.image, expected)
    mask = np.asarray(Image.open(voc_root / 'SegmentationClass/2007_000003.png'))
    rows, columns = (np.arange(32) * side // 32 for side in mask.shape)
    np.testing.assert_array_equal(sample.labels, mask[np.ix_(rows, columns)])
    assert sample.tags == (8, 11)  # chair and dog
    assert eyes.painter().names(sample.tags) == 'chair, dog'


def test_missing_parts_of_a_config(tmp_path, voc_root):
    config = tiny_config(tmp_path, voc_root)
    with pytest.raises(ConfigError, match='no val_dataloader; it has train, test'):
        NetworkEyes(config, 'val')
    with pytest.raises(ConfigError, match='no trian_dataloader; it has train, test'):
        NetworkEyes(config, 'trian')
    config.model.data_preprocessor = None
    with pytest.raises(ConfigError, match='no model.data_preprocessor'):
        NetworkEyes(config, 'train')


def test_inputs_that_cannot_be_cut_into_patches(tmp_path, voc_root):
    options = dict(model__data_preprocessor__pad_size_divisor=1)
    config = tiny_config(tmp_path, voc_root, **options)
    config.train_dataloader.dataset.pipeline[4].crop_size = (30, 32)
    with pytest.raises(DataError, match='30x32 pixels cannot be cut into patches'):
        NetworkEyes(config, 'train').see(0)


@pytest.fixture
def segmentation(tmp_path):
    """The embedded segmentor's config, its pseudo labels being the masks."""
    root, labels = tmp_path / 'data', tmp_path / 'labels'
    write_synthetic(root, SyntheticSettings(train=6, val=1, test=2, size=48))
    (labels / 'labels').mkdir(parents=True)
    images = {}
    for path in sorted((root / 'SegmentationClass').glob('train_*.png')):
        shutil.copy(path, labels / 'labels')
        images[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
    classes = list(SYNTHETIC_METAINFO['classes'])
    counts = dict.fromkeys(classes, 1)
    manifest = dict(classes=classes, pixels_per_class=counts, images=images)
    (labels / 'labels.json').write_text(json.dumps(manifest))
    config = Config.fromfile(ROOT / 'configs/segmentation/deeplabv2_embedded.py')
    for name in ('train', 'test'):
        config[f'{name}_dataloader'].dataset.data_root = str(root)
    config.train_dataloader.dataset.label_root = str(labels)
    return config


def test_a_segmentor_by_its_own_loader(segmentation):
    eyes = NetworkEyes(segmentation, 'train')
    samples = {index: eyes.see(index) for index in range(6)}
    loader = {**segmentation.train_dataloader, 'num_workers': 0, 'batch_size': 6}
    loader['persistent_workers'] = False
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    names = [sample.img_path for sample in batch['data_samples']]
    batch = eyes.preprocessor(batch, training=True)
    mean, std = eyes.preprocessor.mean, eyes.preprocessor.std
    for name, inputs, packed in zip(names, batch['inputs'], batch['data_samples']):
        (sample,) = (s for s in samples.values() if s.name in name)
        levels = (inputs * std + mean).round().clamp(0, 255)
        np.testing.assert_array_equal(sample.image, levels.permute(1, 2, 0).numpy())
        labels = packed.gt_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(sample.labels, labels)
        assert sample.tags == tuple(np.unique(labels[labels % 255 > 0]) - 1)


def test_a_segmentors_test_split(segmentation):
    root = segmentation.test_dataloader.dataset.data_root
    sample = NetworkEyes(segmentation, 'test').see(1)
    photo = np.asarray(Image.open(f'{root}/JPEGImages/test_00001.jpg'))
    np.testing.assert_array_equal(sample.image, photo)
    path = f'{root}/SegmentationClass/test_00001.png'
    mask = np.asarray(Image.open(path)).copy()
    np.testing.assert_array_equal(sample.labels, mask)
    mask[0, 0] = 9
    Image.fromarray(mask).save(path)
    with pytest.raises(
        DataError, match=r'test_00001.jpg holds 9, the classes are 0..6'
    ):
        NetworkEyes(segmentation, 'test').see(1)
