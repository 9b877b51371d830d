"""Padding that mmcv does not have."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmwsss.datasets.transforms.loading import IGNORED_LABEL
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.errors import ConfigError


@TRANSFORMS.register_module()
class RandomPad(BaseTransform):
    """Pad an image to at least ``size`` and put it anywhere in the new frame.

    Before a random crop of the same size this is ACR's cropping: a side longer than
    the crop is cut at random, a shorter one is placed at random.

    Args:
        size: Least size, one number or (height, width), in pixels.
        pad_val: Colour, one value a channel in the image's order (mmcv loads BGR), in
            0..255.
        seg_pad_val: Value for masks, if any are loaded.

    Raises:
        ConfigError: if a size is not positive.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        *,
        pad_val: Sequence[float],
        seg_pad_val: int = IGNORED_LABEL,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) <= 0:
            raise ConfigError(f'RandomPad: size must be (height, width), got {size}')
        self.pad_val = tuple(pad_val)
        self.seg_pad_val = seg_pad_val

    @cache_randomness
    def _draw_padding(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom padding."""
        missing = [max(0, want - have) for want, have in zip(self.size, shape)]
        top, left = (int(np.random.randint(0, pixels + 1)) for pixels in missing)
        return left, top, missing[1] - left, missing[0] - top

    def transform(self, results: dict) -> dict:
        """Pad ``img`` and the maps of ``seg_fields``; update ``img_shape``."""
        image = results['img']
        padding = self._draw_padding(image.shape[:2])
        results['img'] = mmcv.impad(image, padding=padding, pad_val=self.pad_val)
        for key in results.get('seg_fields', []):
            results[key] = mmcv.impad(
                results[key], padding=padding, pad_val=self.seg_pad_val
            )
        results['img_shape'] = results['img'].shape[:2]
        results['pad_shape'] = results['img_shape']
        return results
