import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from PIL import Image

from mmwsss.datasets.transforms import (
    CountedRandomness,
    LoadImage,
    LoadMask,
    PackWSSSInputs,
    RandomPad,
    TagsFromMask,
)
from mmwsss.registry import TRANSFORMS
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.randomness import CountedIndex

NAME = '2007_000001'  # 60 x 40, labels 1 and 15


@pytest.fixture
def results(voc_root):
    return dict(
        img_path=str(voc_root / f'JPEGImages/{NAME}.jpg'),
        seg_map_path=str(voc_root / f'SegmentationClass/{NAME}.png'),
        sample_idx=CountedIndex(3, 7, 1),
        reduce_zero_label=False,
        label_map=None,
        seg_fields=[],
    )


def test_image_and_mask(results):
    results = LoadMask()(LoadImage()(results))
    assert results['img'].shape == (40, 60, 3)
    assert results['ori_shape'] == results['img_shape'] == (40, 60)
    mask = results['gt_seg_map']
    assert mask.shape == (40, 60)
    assert sorted(np.unique(mask)) == [0, 1, 15, 255]
    assert mask[10, 10] == 1


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGBA', 'P'])
def test_other_image_modes_become_three_channels(results, tmp_path, mode):
    path = tmp_path / 'image.png'
    image = Image.new('RGB', (6, 4), (10, 10, 10))
    image.convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    image = LoadImage()({**results, 'img_path': str(path)})['img']
    assert image.shape == (4, 6, 3)
    assert (image == 10).all()


def test_missing_image(results):
    results['img_path'] += '.none'
    with pytest.raises(DataError, match=r'image not found: .*\.none; restore it'):
        LoadImage()(results)


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_corrupt_image(results, backend):
    with open(results['img_path'], 'wb') as file:
        file.write(b'\xff\xd8\xff not a photograph')
    with pytest.raises(DataError, match=f'image cannot be read: .*{NAME}.jpg'):
        LoadImage(imdecode_backend=backend)(results)


@pytest.mark.parametrize('kept', [0.1, 0.5, 0.9])
def test_truncated_image(results, kept):
    with open(results['img_path'], 'rb+') as file:
        size = len(file.read())
        file.truncate(int(kept * size))
    with pytest.raises(DataError, match=f'image cannot be read: .*{NAME}.jpg'):
        LoadImage()(results)


def test_image_errors_are_not_skipped():
    with pytest.raises(TypeError, match='ignore_empty'):
        LoadImage(ignore_empty=True)


def test_missing_mask(results):
    results['seg_map_path'] += '.none'
    with pytest.raises(DataError, match=r'mask not found: .*\.none; restore it'):
        LoadMask()(results)


def test_no_mask_folder(results):
    del results['seg_map_path']
    with pytest.raises(DataError, match='set dataset.data_prefix.seg_map_path'):
        LoadMask()(results)


def test_corrupt_mask(results):
    with open(results['seg_map_path'], 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n')
    with pytest.raises(DataError, match=f'mask cannot be read: .*{NAME}.png'):
        LoadMask()(results)


def test_mask_of_another_size_names_both(results):
    results = LoadImage()(results)
    Image.new('L', (61, 40)).save(results['seg_map_path'])
    with pytest.raises(DataError, match=f'{NAME}.png is 61x40, .*{NAME}.jpg is 60x40'):
        LoadMask()(results)


@pytest.mark.parametrize(('mode', 'channels'), [('RGB', 3), ('RGBA', 4), ('LA', 2)])
def test_colour_mask(results, mode, channels):
    Image.new(mode, (60, 40)).save(results['seg_map_path'])
    message = f'has {channels} channels; expected class indices'
    with pytest.raises(DataError, match=message):
        LoadMask()(results)


@pytest.mark.parametrize('mode', ['P', 'L', '1', 'I;16'])
def test_masks_of_one_channel(results, mode):
    """The indices of a palette are the labels, whatever its colours are."""
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) % (2 if mode == '1' else 12)
    image = Image.fromarray(values if mode == 'I;16' else values.astype(np.uint8))
    if mode == 'P':
        image.putpalette([7] * 768)
    image = image.point(lambda v: 255 * v, '1') if mode == '1' else image
    assert image.mode == mode
    image.save(results['seg_map_path'])
    mask = LoadMask()(results)['gt_seg_map']
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, values)


def test_mask_of_16_bits_does_not_wrap(results):
    Image.fromarray(np.full((40, 60), 257, np.uint16)).save(results['seg_map_path'])
    with pytest.raises(DataError, match=r'holds uint16 values 257\.\.257; expected'):
        LoadMask()(results)


def test_mask_of_floating_point_numbers(results, tmp_path):
    results['seg_map_path'] = str(tmp_path / 'mask.tif')
    Image.fromarray(np.full((40, 60), 0.5, np.float32)).save(results['seg_map_path'])
    with pytest.raises(DataError, match=r'mask.tif holds float32 values 0\.5\.\.0\.5'):
        LoadMask()(results)


def test_labels_of_a_part_of_the_classes(results):
    mask = np.array([[0, 1, 2, 254, 255]], np.uint8)
    Image.fromarray(mask).save(results['seg_map_path'])
    results['label_map'] = {0: 0, 1: 255, 2: 1}
    assert LoadMask()(results)['gt_seg_map'].tolist() == [[0, 255, 1, 254, 255]]
    results.update(label_map=None, reduce_zero_label=True)
    assert LoadMask()(results)['gt_seg_map'].tolist() == [[255, 0, 1, 253, 255]]


def test_absurd_sizes(results, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)  # Pillow refuses the double
    with pytest.raises(DataError, match=f'{NAME}.jpg .*2400 pixels.* exceeds limit'):
        LoadImage()(results)
    with pytest.raises(DataError, match=f'{NAME}.png .*2400 pixels.* exceeds limit'):
        LoadMask()(results)


def test_tags_from_mask(results):
    assert TagsFromMask()(LoadMask()(results))['gt_label'] == [0, 14]


def test_tags_from_mask_with_another_ignored_label():
    mask = np.array([[0, 3], [9, 255]], np.uint8)
    results = dict(gt_seg_map=mask, img_path='x')
    assert TagsFromMask(ignore_index=9)(results)['gt_label'] == [2, 254]


def test_mask_without_classes():
    results = dict(gt_seg_map=np.array([[0, 255]]), img_path='x', seg_map_path='y.png')
    with pytest.raises(DataError, match=r'mask y\.png shows no class'):
        TagsFromMask()(results)


def test_tags_without_a_mask():
    with pytest.raises(DataError, match='put LoadMask before TagsFromMask'):
        TagsFromMask()(dict(img_path='x'))


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_draws_depend_on_seed_epoch_and_index_alone():
    def draws_of(*key):
        CountedRandomness()(dict(sample_idx=CountedIndex(*key)))
        return draws()

    first = draws_of(3, 7, 1)
    draws()
    assert draws_of(3, 7, 1) == first
    others = [draws_of(*key) for key in ((4, 7, 1), (3, 8, 1), (3, 7, 2), (7, 3, 1))]
    assert len({first, *others}) == 5


def test_draws_survive_the_way_to_a_worker():
    index = pickle.loads(pickle.dumps(CountedIndex(3, 7, 1)))
    CountedRandomness()(dict(sample_idx=index))
    first = draws()
    CountedRandomness()(dict(sample_idx=CountedIndex(3, 7, 1)))
    assert draws() == first


def test_cuda_is_left_alone(monkeypatch):
    def fail(*_):
        raise AssertionError('CUDA touched')

    monkeypatch.setattr(torch.cuda, 'manual_seed', fail)
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', fail)
    CountedRandomness()(dict(sample_idx=CountedIndex(0, 0, 0)))


def test_plain_index():
    with pytest.raises(ConfigError, match="sampler=dict\\(type='CountedSampler'\\)"):
        CountedRandomness()(dict(sample_idx=3))


def test_random_pad_places_the_image_anywhere():
    image = np.arange(1, 19, dtype=np.uint8).reshape(2, 3, 3)
    corners = set()
    for seed in range(200):
        np.random.seed(seed)
        pad = RandomPad((4, 5), pad_val=(100, 101, 102))
        results = pad(
            dict(img=image, gt_seg_map=image[..., 0], seg_fields=['gt_seg_map'])
        )
        padded = results['img']
        assert padded.shape == (4, 5, 3)
        assert results['img_shape'] == results['pad_shape'] == (4, 5)
        top, left = np.argwhere((padded == 1).any(-1))[0]
        corners.add((top, left))
        assert np.array_equal(padded[top : top + 2, left : left + 3], image)
        outside = np.ones((4, 5), bool)
        outside[top : top + 2, left : left + 3] = False
        assert (padded[outside] == (100, 101, 102)).all()
        assert (results['gt_seg_map'][outside] == 255).all()
        assert np.array_equal(results['gt_seg_map'][~outside], image[..., 0].ravel())
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_random_pad_leaves_a_large_image():
    image = np.ones((6, 7, 3), np.uint8)
    results = RandomPad(4, pad_val=(0, 0, 0))(dict(img=image))
    assert np.array_equal(results['img'], image)


@pytest.mark.parametrize('size', [0, (4, 0), (1, 2, 3)])
def test_random_pad_size(size):
    with pytest.raises(ConfigError, match='RandomPad: size'):
        RandomPad(size, pad_val=(0, 0, 0))


def test_packed_sample(results):
    results = TagsFromMask()(LoadMask()(LoadImage()(results)))
    results.update(img_shape=(40, 60, 3), scale_factor=(1.0, 1.0), flip=True)
    packed = PackWSSSInputs()(results)
    inputs, sample = packed['inputs'], packed['data_samples']
    assert torch.equal(
        inputs, torch.from_numpy(results['img'].transpose(2, 0, 1).copy())
    )
    assert type(sample) is WSSSDataSample
    assert sample.gt_label.tolist() == [0, 14]
    assert torch.equal(
        sample.gt_sem_seg.data[0], torch.from_numpy(results['gt_seg_map']).long()
    )
    assert type(sample.sample_idx) is int
    assert sample.sample_idx == 3
    assert sample.img_shape == sample.ori_shape == (40, 60)
    assert sample.img_path == results['img_path']
    assert sample.scale_factor == (1.0, 1.0)
    assert sample.flip is True
    assert 'pad_shape' not in sample
    assert type(results['sample_idx']) is CountedIndex


@pytest.mark.parametrize(
    ('index', 'padding'),
    [
        (CountedIndex(3, 7, 1), False),
        (CountedIndex(3, 7, 1, padding=True), True),
        (3, False),
        (None, False),
    ],
)
def test_packed_sample_knows_that_it_is_padding(results, index, padding):
    results['sample_idx'] = index
    if index is None:
        del results['sample_idx']
    for packer in (PackWSSSInputs(), PackWSSSInputs(meta_keys=['img_path'])):
        sample = packer(LoadImage()(results))['data_samples']
        assert sample.padding is padding
        assert 'padding' in sample.metainfo_keys()


def test_packed_sample_without_ground_truth(results):
    sample = PackWSSSInputs()(LoadImage()(results))['data_samples']
    assert 'gt_label' not in sample
    assert 'gt_sem_seg' not in sample


@pytest.mark.parametrize(
    'name',
    ['LoadImage', 'LoadMask', 'TagsFromMask', 'CountedRandomness', 'PackWSSSInputs'],
)
def test_registered(name):
    assert type(TRANSFORMS.build(dict(type=name))).__name__ == name


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='mmpretrain.RandomCrop', crop_size=48, pad_if_needed=True),
        dict(type='mmpretrain.RandomResizedCrop', scale=48),
        dict(type='mmpretrain.ResizeEdge', scale=48, edge='long'),
        dict(type='mmpretrain.ColorJitter', brightness=0.3, hue=0.1),
        dict(type='mmseg.RandomCrop', crop_size=(32, 32)),
        dict(type='Resize', scale=(48, 48), keep_ratio=False),
        dict(type='RandomResize', scale=(48, 48), ratio_range=(0.9, 1.1)),
        dict(type='RandomFlip', prob=1.0),
    ],
)
def test_other_libraries_transforms_take_our_results(results, transform):
    loaded = LoadImage()(results)
    other = TRANSFORMS.build(transform)
    packed = Compose([other, PackWSSSInputs()])(loaded)
    sample = packed['data_samples']
    assert tuple(packed['inputs'].shape[1:]) == sample.img_shape
    assert sample.ori_shape == (40, 60)
