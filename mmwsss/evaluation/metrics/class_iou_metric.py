"""mmseg's IoU with the figures of each class."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmwsss.registry import METRICS
from mmwsss.utils.atomic import atomic_write_text

PERCENT = 100
DECIMALS = 2  # as mmseg rounds


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` that also returns what its table prints.

    ``aAcc``, ``mIoU`` and ``mAcc`` are mmseg's. ``IoU_classwise`` and
    ``Acc_classwise`` give each class's figure by its name, in percent, None for a
    class that occurs nowhere.

    Args:
        json_file: File for all figures; appears when the evaluation ends.
        ignore_index: Mask value of pixels that are not judged.
        output_dir: Folder for predictions as PNG.
        format_only: Whether to write predictions without judging them.
        keep_results: As mmseg's test tool sets it with ``--out``.
        collect_device: Where processes gather their counts.
        prefix: Put before the names of the figures.
    """

    def __init__(
        self,
        *,
        json_file: str | None = None,
        ignore_index: int = 255,
        output_dir: str | None = None,
        format_only: bool = False,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            ignore_index=ignore_index,
            output_dir=output_dir,
            format_only=format_only,
            keep_results=keep_results,
            collect_device=collect_device,
            prefix=prefix,
        )
        self.json_file = json_file

    def compute_metrics(self, results: Sequence[Sequence[Tensor]]) -> dict[str, Any]:
        """Return mmseg's figures and those of each class."""
        figures = super().compute_metrics(results)
        if self.format_only:
            return figures
        metrics: dict[str, Any] = {k: _rounded(v) for k, v in figures.items()}
        areas = [sum(area) for area in zip(*results)]
        ratios = self.total_area_to_metrics(*areas, metrics=self.metrics)
        names = self.dataset_meta['classes']
        for figure in ('IoU', 'Acc'):
            values = [_rounded(PERCENT * ratio) for ratio in ratios[figure].tolist()]
            metrics[f'{figure}_classwise'] = dict(zip(names, values))
        if self.json_file:
            atomic_write_text(self.json_file, json.dumps(metrics, indent=1) + '\n')
        return metrics


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), DECIMALS)
