"""Quality of localization maps as seeds, over all background thresholds at once."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MessageHub, print_log
from mmengine.visualization import Visualizer
from torch import Tensor

from mmwsss.evaluation.histogram_accumulator import HistogramAccumulator
from mmwsss.evaluation.seed_report import (
    curve_figure,
    figure_pixels,
    report_text,
    write_report,
)
from mmwsss.evaluation.seed_summary import SeedSource, SeedSummary
from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.seeds import check_thresholds, seed_histogram
from mmwsss.registry import METRICS
from mmwsss.utils.errors import ConfigError, DataError

DEFAULT_THRESHOLDS = tuple(step / 100 for step in range(100))
REMEDIES = {
    'gt_sem_seg': 'add LoadAnnotations to the test pipeline, or evaluate a split with '
    'masks',
    'localization': 'the model must predict localization maps',
    'img_shape': "add it to the packing transform's meta_keys",
    'ori_shape': "add it to the packing transform's meta_keys",
}


@METRICS.register_module()
class SeedIoUMetric(BaseMetric):
    """mIoU of seeds against the masks, for every threshold, under three protocols.

    Maps are brought to the original image where they are, and each image becomes one
    integer histogram; the histograms add up over images and processes. Of every figure
    ``X`` there are ``X_best`` (the threshold with the highest mIoU, the papers'
    protocol), ``X_fixed`` (a threshold named beforehand) and ``X_gt_free`` (Otsu's
    threshold on the scores, no mask read). ``mIoU`` is over all classes of the data
    set, where absent ones count 0; ``mIoU_occurring``, ``mPrecision``, ``mRecall``,
    ``mFP`` and ``mFN`` (shares of the union) over classes predicted or labelled
    anywhere. All in percent, thresholds in [0, 1].

    The data set's ``classes`` name the background first.

    Args:
        thresholds: Ascending background scores in [0, 1].
        fixed_threshold: One of ``thresholds``, for the protocol ``fixed``.
        ignore_index: Mask value of pixels that are not judged.
        split: Name or file of the image list, stated with the figures.
        extra_supervision: What was used besides image tags, e.g. ``'saliency'``.
        out_dir: Folder for ``seed_curve.png``, ``seed_curve.json`` and
            ``seed_histogram.npz``.
        prefix: Put before the names of the figures.

    Raises:
        ConfigError: if the thresholds do not ascend in [0, 1] or the fixed one is not
            among them.
    """

    default_prefix = 'seed'

    def __init__(
        self,
        *,
        thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
        fixed_threshold: float | None = None,
        ignore_index: int = 255,
        split: str | None = None,
        extra_supervision: str | None = None,
        out_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        self.thresholds = tuple(float(threshold) for threshold in thresholds)
        self.grid = torch.tensor(self.thresholds, dtype=torch.float32)
        try:
            check_thresholds(self.grid)
        except ValueError as error:
            raise ConfigError(f'SeedIoUMetric: {error}') from error
        if fixed_threshold is not None and fixed_threshold not in self.thresholds:
            raise ConfigError(
                f'SeedIoUMetric: fixed_threshold={fixed_threshold} is not one of the '
                'thresholds; add it to them'
            )
        self.fixed_threshold = fixed_threshold
        self.ignore_index = ignore_index
        self.split = split
        self.extra_supervision = extra_supervision
        self.out_dir = out_dir
        self._accumulator: HistogramAccumulator | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch to the histogram.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts, with ``localization``, ``gt_sem_seg``,
                ``img_shape``, ``ori_shape`` and ``sample_idx`` or ``img_path``.

        Raises:
            DataError: if a sample lacks one of these or they contradict each other.
        """
        del data_batch
        for sample in data_samples:
            sample_id = (sample.get('sample_idx'), sample.get('img_path'))
            self._accumulate().add(sample_id, self._histogram(sample))

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over all processes, report, and start afresh.

        Args:
            size: Number of images of the data set.

        Returns:
            The scalars of :class:`SeedSummary`, the same on every process.

        Raises:
            DataError: if there was no image, or one was counted twice.
            ArtefactError: if ``out_dir`` cannot be written.
        """
        try:
            histogram, num_images = self._accumulate().reduce()
        finally:
            self._accumulator = None
        if num_images == 0:
            raise DataError('SeedIoUMetric: no image was evaluated; check the split')
        if num_images != size:
            message = f'SeedIoUMetric: {num_images} of {size} images'
            print_log(message, logger='current', level=logging.WARNING)
        return self.compute_metrics([(histogram, num_images)])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Turn the summed histogram into scalars and reports.

        Args:
            results: One entry, the histogram and the number of images.

        Returns:
            Scalars by name, prefix included.
        """
        ((histogram, num_images),) = results
        fixed = self.fixed_threshold
        summary = SeedSummary(
            histogram,
            thresholds=self.thresholds,
            classes=self._classes(),
            fixed_index=None if fixed is None else self.thresholds.index(fixed),
        )
        source = SeedSource(
            split=self.split,
            extra_supervision=self.extra_supervision,
            num_images=num_images,
            num_pixels=int(histogram[:, :-1].sum()),
            num_ignored=int(histogram[:, -1].sum()),
        )
        if is_main_process():
            self._report(summary, source, histogram)
        return {f'{self.prefix}/{k}': v for k, v in summary.scalars().items()}

    def _report(
        self, summary: SeedSummary, source: SeedSource, histogram: Tensor
    ) -> None:
        print_log('\n' + report_text(summary, source), logger='current')
        figure = curve_figure(summary, source)
        _show(f'{self.prefix}_curve', figure_pixels(figure))
        if self.out_dir is not None:
            write_report(
                self.out_dir, summary, source, histogram=histogram, figure=figure
            )

    def _histogram(self, sample: dict) -> Tensor:
        name = sample.get('img_path') or sample.get('sample_idx')
        if name is None:
            raise DataError(
                "SeedIoUMetric: a sample has neither 'img_path' nor 'sample_idx'; add "
                "one to the packing transform's meta_keys"
            )
        for key, remedy in REMEDIES.items():
            if sample.get(key) is None:
                raise DataError(f'{name}: no {key}; {remedy}')
        gt, size = sample['gt_sem_seg']['data'][0], tuple(sample['ori_shape'][:2])
        if tuple(gt.shape) != size:
            raise DataError(
                f'{name}: ground truth of size {tuple(gt.shape)} for an image of size '
                f'{size}; load the annotations after Resize, or correct the mask'
            )
        localization = sample['localization']
        try:
            scores = maps_to_image(
                localization['data'].detach().float(),
                input_shape=localization['input_shape'],
                img_shape=tuple(sample['img_shape'][:2]),
                ori_shape=size,
                align_corners=localization['align_corners'],
            )
            return seed_histogram(
                scores,
                localization['classes'],
                gt,
                self.grid,
                num_classes=len(self._classes()),
                ignore_index=self.ignore_index,
            )
        except ValueError as error:
            raise DataError(f'{name}: {error}') from error

    def _classes(self) -> tuple[str, ...]:
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise DataError(
                'SeedIoUMetric: the data set names no classes; give its METAINFO '
                "'classes', the background first"
            )
        return tuple(classes)

    def _accumulate(self) -> HistogramAccumulator:
        if self._accumulator is None:
            count = len(self._classes())
            shape = (count, count + 1, len(self.thresholds) + 1)
            self._accumulator = HistogramAccumulator(shape)
        return self._accumulator


def _show(name: str, pixels: Any) -> None:
    """Hand a picture to the running visualizer, if there is one."""
    try:
        visualizer = Visualizer.get_current_instance()
    except RuntimeError:
        return
    step = MessageHub.get_current_instance().get_info('iter', 0) or 0
    visualizer.add_image(name, pixels, step=int(step))
