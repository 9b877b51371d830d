"""Images of a data set that are looked at again and again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import pseudo_collate

from mmwsss.utils.errors import ConfigError

SHOWN_NAMES = 3


class FixedImages:
    """The first images of a data set, or those of some names, in that order.

    They are read once, at the first use.

    Args:
        dataset: With ``get_data_info``, as mmengine's have.
        images: How many of the first, fewer where there are not as many; or ids, as
            of seeds and labels.

    Raises:
        ConfigError: if the data set has no image of a name, or none at all.
    """

    def __init__(self, dataset: Any, images: int | Sequence[str]) -> None:
        self.dataset = dataset
        if isinstance(images, int):
            self.indices = list(range(min(images, len(dataset))))
        else:
            self.indices = self._find(images)
        if not self.indices:
            raise ConfigError(
                'TrainingPicturesHook: the data set has no image; name another '
                'loader, or more images in its list'
            )
        self._items: list[dict] = []

    def _find(self, names: Sequence[str]) -> list[int]:
        places = {self._id(index): index for index in range(len(self.dataset))}
        missing = [name for name in names if name not in places]
        if missing:
            some = ', '.join(list(places)[:SHOWN_NAMES])
            raise ConfigError(
                f'TrainingPicturesHook: images={missing[0]!r} is not in the data set '
                f'of {len(places)} images ({some}, ...); name others, or another loader'
            )
        return [places[name] for name in names]

    def _id(self, index: int) -> str:
        path = self.dataset.get_data_info(index)['img_path']
        named = hasattr(self.dataset, 'image_id')
        return self.dataset.image_id(path) if named else Path(path).stem

    def batches(self) -> Iterator[dict]:
        """Yield a batch of each image, as of its loader; what is done to it is lost."""
        if not self._items:
            self._items = [self.dataset[index] for index in self.indices]
        for item in self._items:
            yield pseudo_collate([copy.deepcopy(item)])
