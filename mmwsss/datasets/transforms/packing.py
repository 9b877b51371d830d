"""The end of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.datasets.transforms import PackSegInputs

from mmwsss.registry import TRANSFORMS
from mmwsss.structures import WSSSDataSample

META_KEYS = (
    'sample_idx',
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)
SHAPE_KEYS = ('ori_shape', 'img_shape', 'pad_shape')


@TRANSFORMS.register_module()
class PackWSSSInputs(PackSegInputs):
    """mmseg's ``PackSegInputs`` that packs a ``WSSSDataSample`` with the tags.

    Args:
        meta_keys: Keys of the results to keep as metainfo, where present.
    """

    def __init__(self, *, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys=tuple(meta_keys))

    def transform(self, results: dict) -> dict:
        """Return ``inputs`` (3, H, W) and ``data_samples``.

        The sample has ``gt_label`` when the results have it, ``gt_sem_seg`` when a
        mask was loaded. Shapes are (height, width) whichever transform set them, and
        ``sample_idx`` is a plain int; metainfo ``padding`` says whether its sampler
        repeats the image only so that all processes get as many.
        """
        results = dict(results)
        padding = bool(getattr(results.get('sample_idx'), 'padding', False))
        for key in SHAPE_KEYS:
            if key in results:
                height, width = results[key][:2]
                results[key] = (int(height), int(width))
        if 'sample_idx' in results:
            results['sample_idx'] = int(results['sample_idx'])
        packed = super().transform(results)
        sample = WSSSDataSample()
        sample.update(packed['data_samples'])
        sample.set_metainfo(dict(padding=padding))
        if 'gt_label' in results:
            sample.set_gt_label(results['gt_label'])
        packed['data_samples'] = sample
        return packed
