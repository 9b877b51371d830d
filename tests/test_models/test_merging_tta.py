"""Averages over views against float64, and against mmseg's."""

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample

from mmwsss.models.merging_tta import MergingTTAModel, log_average
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError

VIEWS, CLASSES, SIZE = 4, 5, (6, 7)


class Segmentor(BaseModel):
    out_channels = CLASSES

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError


@pytest.fixture
def logits():
    """Of two images: (2, views, classes, H, W)."""
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(2, VIEWS, CLASSES, *SIZE, generator=generator)


def samples_of(logits):
    """What BaseTTAModel hands over: for each image, a sample for each view."""
    images = []
    for n, views in enumerate(logits):
        images.append([])
        for view in views:
            sample = SegDataSample(metainfo=dict(img_path=f'{n}.jpg'))
            sample.seg_logits = PixelData(data=view.clone())
            sample.pred_sem_seg = PixelData(data=view.argmax(0, keepdim=True))
            sample.gt_sem_seg = PixelData(data=torch.full((1, *SIZE), n))
            images[-1].append(sample)
    return images


def mean_softmax(views):
    powers = np.exp(views.double().numpy())
    return (powers / powers.sum(1, keepdims=True)).mean(0)


def test_logits_and_labels_are_those_of_the_average(logits):
    merged = MergingTTAModel(Segmentor()).merge_preds(samples_of(logits))
    assert len(merged) == 2
    for n, (sample, views) in enumerate(zip(merged, logits)):
        expected = mean_softmax(views)
        found = sample.seg_logits.data
        np.testing.assert_allclose(found.exp(), expected, rtol=1e-5)
        np.testing.assert_allclose(found.softmax(0), expected, rtol=1e-5)
        labels = sample.pred_sem_seg.data
        assert labels.shape == (1, *SIZE)
        np.testing.assert_array_equal(labels[0], expected.argmax(0))
        assert sample.img_path == f'{n}.jpg'
        assert sample.gt_sem_seg.data.unique().tolist() == [n]


def test_labels_are_mmsegs_and_its_logits_are_one_views(logits):
    ours = MergingTTAModel(Segmentor()).merge_preds(samples_of(logits))
    theirs = SegTTAModel(Segmentor()).merge_preds(samples_of(logits))
    for sample, other, views in zip(ours, theirs, logits):
        labels = other.pred_sem_seg.data.reshape(SIZE)
        assert torch.equal(sample.pred_sem_seg.data[0], labels)
        assert torch.equal(other.seg_logits.data, views[-1])


def test_a_single_view_stays_what_it_is(logits):
    found = log_average([logits[0, 0]])
    torch.testing.assert_close(found, logits[0, 0].log_softmax(0))


def test_certain_views_stay_finite():
    views = [torch.tensor([[[1000.0]], [[0.0]]]) for _ in range(2)]
    found = log_average(views)
    assert torch.isfinite(found).all() and found[0] == 0 and found[1] < -80


def test_one_channel_is_refused(logits):
    segmentor = Segmentor()
    segmentor.out_channels = 1
    with pytest.raises(ConfigError, match=r"out_channels=1 needs .*'SegTTAModel'"):
        MergingTTAModel(segmentor).merge_preds(samples_of(logits[:, :, :1]))


def test_it_is_built_around_a_model_of_the_config():
    model = MODELS.build(dict(type='mmwsss.MergingTTAModel', module=Segmentor()))
    assert isinstance(model, MergingTTAModel)
