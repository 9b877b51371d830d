"""Data preprocessors that lay images out as convolutions on a processor want them."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from mmseg.models import SegDataPreProcessor

from mmwsss.registry import MODELS


class _ChannelsLast:
    """Puts the channels of a batch's images last in memory; shapes stay (B, 3, H, W).

    Convolutions keep that layout from one to the next. Results differ in rounding.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return the parent's batch, its ``inputs`` in the other layout."""
        parent: Any = super()
        batch = parent.forward(data, training)
        images = batch['inputs'].contiguous(memory_format=torch.channels_last)
        return batch | dict(inputs=images)


@MODELS.register_module()
class ChannelsLastImgDataPreprocessor(_ChannelsLast, ImgDataPreprocessor):
    """mmengine's ``ImgDataPreprocessor``, channels last in memory."""


@MODELS.register_module()
class ChannelsLastSegDataPreProcessor(_ChannelsLast, SegDataPreProcessor):
    """mmseg's ``SegDataPreProcessor``, channels last in memory."""
