"""Loading of features that a frozen network has given beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmwsss.registry import TRANSFORMS
from mmwsss.structures.feature_record import FeatureCodec, FeatureRecord
from mmwsss.utils.artefact_store import ArtefactStore


@TRANSFORMS.register_module()
class LoadFeatures(BaseTransform):
    """Load what ``tools/cache_features.py`` has stored, in place of an image.

    ``RandomFlip`` may follow; other changes of the image cannot reach the features.
    An image's features have its file's name without the suffix.

    Args:
        root: Folder of the features.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._store: ArtefactStore[FeatureRecord] | None = None

    def transform(self, results: dict) -> dict:
        """Add ``img`` (h, w, 2 D + 1) float32, ``img_shape`` (h, w) and ``ori_shape``.

        Raises:
            ArtefactError: if there are no features of the image, or they are damaged.
        """
        if self._store is None:
            self._store = ArtefactStore.open(self.root, FeatureCodec())
        record = self._store.read(Path(results['img_path']).stem)
        results['img'] = record.pairs.transpose(1, 2, 0).astype(np.float32)
        results['img_shape'] = record.pairs.shape[1:]
        results['ori_shape'] = record.ori_shape
        return results

    def __repr__(self) -> str:
        """Return the constructor's call."""
        return f'{type(self).__name__}(root={self.root!r})'
