"""What there is to know about an image of a data set, and its mask, once read."""

from __future__ import annotations

import hashlib
import os.path as osp
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmwsss.datasets.transforms.loading import IGNORED_LABEL, LoadImage, LoadMask
from mmwsss.utils.errors import DataError


@dataclass(frozen=True)
class ImageFacts:
    """Facts of one image.

    Args:
        path: The image's file.
        size: (width, height) as seen, (0, 0) if it cannot be read.
        digest: Of the decoded pixels, the same for copies of a picture; '' if it
            cannot be read.
        labels: Pixels by mask value; None without a readable mask.
        problems: (kind, message) pairs; kinds are those of ``KINDS`` in
            ``mmwsss.apis.dataset_findings``.
    """

    path: str
    size: tuple[int, int] = (0, 0)
    digest: str = ''
    labels: dict[int, int] | None = None
    problems: tuple[tuple[str, str], ...] = ()

    def tags(self, num_classes: int) -> list[int] | None:
        """Return the foreground classes (from 0) that the mask shows."""
        if self.labels is None:
            return None
        return sorted(label - 1 for label in self.labels if 0 < label <= num_classes)


def inspect_image(record: dict[str, Any], *, num_classes: int) -> ImageFacts:
    """Read an image and, where the record names one, its mask.

    Args:
        record: Of an mmseg data set.
        num_classes: Foreground classes; mask values are 0..num_classes and 255.

    Returns:
        The facts; what cannot be read is among the problems, nothing is raised.
    """
    path = record['img_path']
    results = dict(record)
    try:
        image = LoadImage()(results)['img']
    except DataError as error:
        kind = 'corrupt_image' if osp.exists(path) else 'missing_image'
        return ImageFacts(path, problems=((kind, str(error)),))
    height, width = image.shape[:2]
    digest = hashlib.sha256(f'{width}x{height}'.encode() + image.tobytes()).hexdigest()
    labels, problems = _inspect_mask(results, num_classes)
    return ImageFacts(path, (width, height), digest, labels, tuple(problems))


def _inspect_mask(
    results: dict[str, Any], num_classes: int
) -> tuple[dict[int, int] | None, list[tuple[str, str]]]:
    path = results.get('seg_map_path')
    if path is None:
        return None, []
    try:
        mask = LoadMask()(results)['gt_seg_map']
    except DataError as error:
        kind = 'missing_mask'
        if osp.exists(path):
            kind = 'mask_size' if 'the same size' in str(error) else 'corrupt_mask'
        return None, [(kind, str(error))]
    values, counts = np.unique(mask, return_counts=True)
    labels = dict(zip(values.tolist(), counts.tolist()))
    wrong = [v for v in labels if v > num_classes and v != IGNORED_LABEL]
    if wrong:
        text = f'{path} holds {wrong[0]}; expected 0..{num_classes} or {IGNORED_LABEL}'
        return labels, [('mask_labels', text)]
    return labels, []
