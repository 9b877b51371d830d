"""Averages over scales and flips that can be refined further."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError


@MODELS.register_module()
class MergingTTAModel(SegTTAModel):
    r"""mmseg's ``SegTTAModel`` whose ``seg_logits`` are those of the average.

    .. math:: \bar p = \frac{1}{V} \sum_v \mathrm{softmax}(z_v)

    over V views gives ``pred_sem_seg``, as in mmseg, and ``seg_logits``
    :math:`\log \bar p`, whose softmax is :math:`\bar p`. mmseg leaves in
    ``seg_logits`` those of one view, so that what reads them, as ``CRFIoUMetric``
    does, would judge that view alone.

    Raises:
        ConfigError: if the segmentor has one channel, a score of two classes.
    """

    def merge_preds(
        self, data_samples_list: list[list[SegDataSample]]
    ) -> list[SegDataSample]:
        """Return a sample an image, of the views (images, V) of a batch."""
        if self.module.out_channels == 1:
            raise ConfigError(
                'MergingTTAModel averages over a softmax; a segmentor with '
                "out_channels=1 needs tta_model = dict(type='SegTTAModel')"
            )
        # before mmseg's, which answers with one of the views
        averages = [
            log_average([view.seg_logits.data for view in views])
            for views in data_samples_list
        ]
        merged = super().merge_preds(data_samples_list)
        for sample, logits in zip(merged, averages, strict=True):
            labels = logits.max(0, keepdim=True).indices
            sample.set_data(
                dict(
                    seg_logits=PixelData(data=logits),
                    pred_sem_seg=PixelData(data=labels),
                )
            )
        return merged


def log_average(logits: list[Tensor]) -> Tensor:
    """Return the logarithm of the mean softmax of logits, each (classes, H, W)."""
    total = sum((part.softmax(0) for part in logits), torch.zeros_like(logits[0]))
    mean = total / len(logits)
    return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
