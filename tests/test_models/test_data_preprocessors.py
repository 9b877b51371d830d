"""Images with the channels last in memory: the parents' values, kept by a network."""

import pytest
import torch
from mmengine.registry import DefaultScope

from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample

SETTINGS = dict(mean=[1.0, 2.0, 3.0], std=[2.0, 4.0, 8.0], bgr_to_rgb=True)
PAIRS = {
    'ChannelsLastImgDataPreprocessor': 'mmengine.ImgDataPreprocessor',
    'ChannelsLastSegDataPreProcessor': 'mmseg.SegDataPreProcessor',
}


def batch_of(*sizes):
    """Images counted up from 0, each with a sample of its size."""
    images = [
        torch.arange(3 * h * w, dtype=torch.uint8).reshape(3, h, w) for h, w in sizes
    ]
    samples = [WSSSDataSample(metainfo=dict(img_shape=size)) for size in sizes]
    return dict(inputs=images, data_samples=samples)


def build(kind):
    with DefaultScope.overwrite_default_scope('mmwsss'):
        return MODELS.build(dict(type=kind, **SETTINGS))


@pytest.mark.parametrize(('kind', 'parent'), PAIRS.items())
def test_values_are_the_parents(kind, parent):
    got = build(kind)(batch_of((4, 6), (4, 6)), False)['inputs']
    want = build(parent)(batch_of((4, 6), (4, 6)), False)['inputs']
    assert torch.equal(got, want)
    assert got[0, 0, 1, 2] == (2 * 24 + 1 * 6 + 2 - 1) / 2
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert want.is_contiguous()


def test_convolutions_and_views_keep_the_layout():
    images = build('ChannelsLastImgDataPreprocessor')(batch_of((8, 8)), True)['inputs']
    both = torch.cat([images, images.flip(-1)])
    features = torch.nn.Conv2d(3, 8, 3, padding=1)(both)
    assert features.is_contiguous(memory_format=torch.channels_last)
