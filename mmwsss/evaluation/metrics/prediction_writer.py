"""Predicted labels as files."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmwsss.registry import METRICS
from mmwsss.utils.atomic import atomic_write_bytes
from mmwsss.utils.errors import DataError
from mmwsss.utils.label_codec import LabelCodec


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Write each prediction as a palette PNG; needs no masks.

    An image ``<img_root>/a/b.jpg`` gives ``<out_dir>/a/b.png``, in the data set's
    colours and the image's own size. Any model that gives ``pred_sem_seg`` will do.

    Args:
        out_dir: Folder to write to.
        img_root: Folder that the images' paths start from.
        prefix: Put before the name of the figure.
    """

    default_prefix = 'predictions'

    def __init__(
        self, *, out_dir: str, img_root: str, prefix: str | None = None
    ) -> None:
        super().__init__(prefix=prefix)
        self.out_dir, self.img_root = out_dir, img_root

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``img_path`` and ``pred_sem_seg``
                (1, H, W).

        Raises:
            DataError: if an image lies outside ``img_root``.
            ArtefactError: if a file cannot be written.
        """
        del data_batch
        codec = LabelCodec((self.dataset_meta or {})['palette'])
        for sample in data_samples:
            name = osp.relpath(sample['img_path'], self.img_root)
            if name.startswith('..'):
                raise DataError(
                    f'{sample["img_path"]} is not in {self.img_root}; set img_root of '
                    'PredictionWriter to the folder of the images'
                )
            labels = sample['pred_sem_seg']['data'][0].cpu().numpy().astype(np.uint8)
            path = Path(self.out_dir, osp.splitext(name)[0] + '.png')
            atomic_write_bytes(path, codec.encode(labels))
            self.results.append(name)

    def compute_metrics(self, results: list[str]) -> dict[str, int]:
        """Return how many different images were written."""
        return dict(written=len(set(results)))
