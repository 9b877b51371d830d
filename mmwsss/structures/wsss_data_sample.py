"""The sample that travels from the data pipeline to the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor


class WSSSDataSample(SegDataSample):
    """mmseg's ``SegDataSample`` with image-level tags and localization maps.

    Classes of tags, scores and maps are foreground classes, counted from 0 without
    the background; label maps count the background as 0, so label = class + 1.

    Fields besides mmseg's ``gt_sem_seg``, ``pred_sem_seg`` and ``seg_logits``:
        gt_label: (k,) int64, ascending indices of the image's tags.
        pred_score: (C,) float, class probabilities in [0, 1].
        localization: ``PixelData`` with ``data`` (k, h, w), localization maps in
            [0, 1] on the network's own grid, and the metainfo ``classes`` (k
            ascending class indices), ``input_shape`` (H, W) in pixels of the network
            input that the grid covers, padding included, and ``align_corners``.
    """

    def set_gt_label(self, classes: Sequence[int] | Tensor) -> WSSSDataSample:
        """Store the image's tags.

        Args:
            classes: Foreground class indices, in any order, repeats allowed.

        Returns:
            The sample itself.
        """
        label = torch.as_tensor(classes, dtype=torch.int64).reshape(-1)
        self.set_field(label.unique(), 'gt_label', dtype=Tensor)
        return self

    def set_pred_score(self, score: Tensor) -> WSSSDataSample:
        """Store class probabilities, (C,) in [0, 1]; return the sample."""
        self.set_field(score, 'pred_score', dtype=Tensor)
        return self

    def set_localization(
        self,
        maps: Tensor,
        classes: Sequence[int],
        *,
        input_shape: tuple[int, int],
        align_corners: bool,
    ) -> WSSSDataSample:
        """Store localization maps with what is needed to bring them to the image.

        Args:
            maps: (k, h, w) in [0, 1] on the network's grid.
            classes: k foreground class indices, ascending.
            input_shape: (H, W) in pixels that the grid covers.
            align_corners: How the grid is up-sampled to those pixels.

        Returns:
            The sample itself.

        Raises:
            ValueError: if ``maps`` and ``classes`` differ in number or the classes
                are not ascending.
        """
        classes = tuple(int(index) for index in classes)
        if len(classes) != len(maps):
            raise ValueError(
                f'localization: {len(maps)} maps for {len(classes)} classes {classes}'
            )
        if list(classes) != sorted(set(classes)):
            raise ValueError(f'localization: classes must ascend, got {classes}')
        pixels = PixelData(data=maps)
        pixels.set_metainfo(
            dict(classes=classes, input_shape=input_shape, align_corners=align_corners)
        )
        self.set_field(pixels, 'localization', dtype=PixelData)
        return self
