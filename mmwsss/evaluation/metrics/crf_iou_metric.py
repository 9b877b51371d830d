"""mmseg's IoU of predictions that a dense CRF has refined."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.evaluation.metrics.class_iou_metric import ClassIoUMetric
from mmwsss.registry import METRICS, TRANSFORMS
from mmwsss.utils.dense_crf import (
    choose_numbers,
    crf_label,
    load_package,
)
from mmwsss.utils.errors import ConfigError, DataError

NAME = 'CRFIoUMetric'
INSTEAD = "test without it: test_evaluator = dict(type='mmwsss.ClassIoUMetric')"
Waiting = tuple[dict, Future]


@METRICS.register_module()
class CRFIoUMetric(ClassIoUMetric):
    """``ClassIoUMetric`` behind a dense CRF, as DeepLab is tested (DeepLabV2, 3.2).

    The energy of a label at a pixel is ``-log`` of the softmax of ``seg_logits``, which
    are never taken for probabilities themselves; pairs are those of ``PairNumbers`` on
    the image file. Each pixel takes the label of the largest marginal. What
    ``ClassIoUMetric`` reports or writes is then that label's.

    For scales and flips name ``MergingTTAModel``: mmseg's own leaves in ``seg_logits``
    those of one view, which is refused.

    Args:
        preset: Where the five numbers of the pairs that are not given come from.
        gauss_sxy: Width of the first kernel in pixels.
        gauss_compat: Its weight.
        bilateral_sxy: Width of the second kernel in pixels.
        bilateral_srgb: Its width in grey levels of 0..255.
        bilateral_compat: Its weight.
        iterations: Steps of mean-field inference.
        jobs: Processes of the CRF beside the model's, started as the config's
            ``env_cfg`` states; 1 computes in the model's own.
        kwargs: Arguments of ``ClassIoUMetric``, which rejects unknown ones.

    Raises:
        ConfigError: if a value is not usable.
    """

    def __init__(
        self,
        *,
        preset: str = 'deeplabv2',
        gauss_sxy: float | None = None,
        gauss_compat: float | None = None,
        bilateral_sxy: float | None = None,
        bilateral_srgb: float | None = None,
        bilateral_compat: float | None = None,
        iterations: int = 10,
        jobs: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = (
            *(gauss_sxy, gauss_compat),
            *(bilateral_sxy, bilateral_srgb, bilateral_compat),
        )
        self.numbers = choose_numbers(preset, given, iterations, owner=NAME)
        self.iterations = iterations
        if jobs < 1:
            raise ConfigError(f'{NAME}.jobs: expected >= 1, got {jobs}')
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[Waiting] = deque()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Refine and count the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``img_path``, ``seg_logits`` (classes,
                H, W) at the image's size and, if they are judged, ``gt_sem_seg``.

        Raises:
            DependencyError: if pydensecrf cannot be imported.
            DataError: if a sample lacks one of these or they contradict each other.
        """
        load_package(NAME, instead=INSTEAD)
        for sample in data_samples:
            image = self._image(sample)
            scores = self._logits(sample, image).float().softmax(0).cpu().numpy()
            task = (scores, image, self.numbers, self.iterations)
            kept = {key: value for key, value in sample.items() if key != 'seg_logits'}
            if self.jobs == 1:
                self._count(kept, crf_label(*task))
                continue
            self._waiting.append((kept, self._workers().submit(crf_label, *task)))
            if len(self._waiting) > self.jobs:
                self._count_first()

    def evaluate(self, size: int) -> dict[str, Any]:
        """Count what is still at work, and return the figures of all images."""
        try:
            while self._waiting:
                self._count_first()
            return super().evaluate(size)
        finally:
            self._waiting.clear()
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                self._pool = None

    def _count_first(self) -> None:
        sample, label = self._waiting.popleft()
        self._count(sample, label.result())

    def _count(self, sample: dict, label: NDArray[np.int64]) -> None:
        refined = dict(data=torch.from_numpy(label)[None])
        super().process({}, [dict(sample, pred_sem_seg=refined)])

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # as with workers of a DataLoader: forked from a process of many threads,
            # they would wait for those
            self._pool = ProcessPoolExecutor(
                self.jobs, initializer=torch.set_num_threads, initargs=(1,)
            )
        return self._pool

    def _image(self, sample: dict) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) RGB of a sample's file."""
        if sample.get('img_path') is None:
            raise DataError(
                f"{NAME}: a sample has no 'img_path'; add it to the packing "
                "transform's meta_keys"
            )
        record = TRANSFORMS.get('LoadImage')()(dict(img_path=sample['img_path']))
        return np.ascontiguousarray(record['img'][..., ::-1])

    def _logits(self, sample: dict, image: NDArray[np.uint8]) -> Tensor:
        path = sample['img_path']
        if sample.get('seg_logits') is None:
            raise DataError(
                f"{path}: no seg_logits; the model must predict them as mmseg's "
                'segmentors do'
            )
        logits = sample['seg_logits']['data']
        expected = (len(self.dataset_meta['classes']), *image.shape[:2])
        if tuple(logits.shape) != expected:
            raise DataError(
                f'{path}: expected seg_logits of {expected}, classes of the data set, '
                f'height and width of the image file, got {tuple(logits.shape)}'
            )
        found = sample.get('pred_sem_seg')
        if found is not None and not _agree(logits, found['data']):
            raise DataError(
                f'{path}: pred_sem_seg is not the argmax of seg_logits, so the CRF '
                'would refine another prediction; for scales and flips set '
                "tta_model = dict(type='mmwsss.MergingTTAModel')"
            )
        return logits


def _agree(logits: Tensor, labels: Tensor) -> bool:
    """Tell whether each label (1, H, W) has the largest of the logits (n, H, W)."""
    chosen = logits.gather(0, labels.reshape(1, *logits.shape[1:]).to(logits.device))
    return torch.equal(chosen[0], logits.amax(0))
