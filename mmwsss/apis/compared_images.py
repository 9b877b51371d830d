"""The images of a comparison, with the masks that judge what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwsss.apis.inferencer_inputs import Pixels, gather_images
from mmwsss.datasets import TagDataset
from mmwsss.datasets.tag_list import some_names
from mmwsss.datasets.transforms import LoadMask
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.label_codec import IGNORED_LABEL

SPLITS = ('train', 'seed', 'val', 'test')
MASK_SUFFIX = '.png'


@dataclass(frozen=True, eq=False)
class ComparedImage:
    """An image that several methods look at.

    Args:
        name: Tells it from the others.
        path: Its file.
        tags: Names of its classes; None where they are not listed.
        mask_path: File of its mask; None without one.
        settings: What the data set says of how masks are read.
    """

    name: str
    path: str
    tags: tuple[str, ...] | None = None
    mask_path: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def mask(
        self, classes: Sequence[str], *, size: tuple[int, int] | None = None
    ) -> Pixels | None:
        """Return the mask (H, W), 255 = not judged; None without one.

        Args:
            classes: Names, the background first.
            size: (H, W) of the image; None if it is not known yet.

        Raises:
            DataError: if it cannot be read, has another size or holds what is no class.
        """
        if self.mask_path is None:
            return None
        results: dict[str, Any] = dict(reduce_zero_label=False, label_map=None)
        results |= self.settings
        results |= dict(img_path=self.path, seg_map_path=self.mask_path, seg_fields=[])
        if size is not None:
            results['ori_shape'] = size
        mask = LoadMask()(results)['gt_seg_map']
        largest = int(mask.max(initial=0, where=mask != IGNORED_LABEL))
        if largest >= len(classes):
            raise DataError(
                f'{self.mask_path} holds {largest}; expected 0..{len(classes) - 1} or '
                f'{IGNORED_LABEL}: name the masks of these classes'
            )
        return mask

    def own_tags(self, classes: Sequence[str]) -> tuple[str, ...] | None:
        """Return the listed tags, else the classes of the mask, else None.

        Args:
            classes: Names, the background first.

        Raises:
            DataError: as ``mask`` does.
        """
        if self.tags is not None:
            return self.tags
        mask = self.mask(classes)
        if mask is None:
            return None
        found = np.unique(mask[mask != IGNORED_LABEL]).tolist()
        return tuple(classes[label] for label in found if label)


def images_of_data_set(
    config: Config, split: str, classes: Sequence[str]
) -> list[ComparedImage] | None:
    """List the images of a config's data set, with their tags and masks.

    Args:
        config: Of a classifier, or of anything whose data set is a ``TagDataset``.
        split: One of ``SPLITS``: whose data loader names the data set.
        classes: Names that it must have, the background first.

    Returns:
        In the data set's order; None if the config has no such ``TagDataset``.

    Raises:
        ConfigError: if its classes are others.
        DataError: if the data set cannot be read.
    """
    settings = (config.get(f'{split}_dataloader') or {}).get('dataset')
    if not settings:
        return None
    settings = settings.copy()
    settings.pipeline = []
    scope = config.get('default_scope') or 'mmwsss'
    with DefaultScope.overwrite_default_scope(scope):
        found = DATASETS.get(settings.type)
        if not (isinstance(found, type) and issubclass(found, TagDataset)):
            return None
        dataset = DATASETS.build(settings)
    check_classes(f'the data set of {split}_dataloader', dataset.metainfo, classes)
    names = tuple(classes)[1:]
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [
        ComparedImage(
            dataset.image_id(record['img_path']),
            record['img_path'],
            tuple(names[t] for t in record['gt_label'])
            if 'gt_label' in record
            else None,
            record.get('seg_map_path'),
            {key: record.get(key) for key in ('reduce_zero_label', 'label_map')},
        )
        for record in records
    ]


def check_classes(
    owner: str, metainfo: Mapping[str, Any], classes: Sequence[str]
) -> None:
    """Check that classes are those of all others.

    Args:
        owner: Whose they are, for the message.
        metainfo: With ``classes``, names, the background first.
        classes: Those expected.

    Raises:
        ConfigError: if they differ, naming what one alone has.
    """
    found = tuple(metainfo['classes'])
    if found == tuple(classes):
        return
    apart = [name for name in found if name not in classes]
    apart += [name for name in classes if name not in found]
    differ = f'{some_names(apart)} of one alone' if apart else 'their order differs'
    raise ConfigError(
        f'{owner} has {len(found)} classes, the first method {len(classes)} '
        f'({differ}): compare what was trained on the same classes, on images of these'
    )


def images_of_files(
    files: Sequence[str | Path], masks: str | Path | None = None
) -> list[ComparedImage]:
    """List own images, with the masks of their names.

    Args:
        files: Images or folders.
        masks: Folder of masks, PNG, class indices; None without masks.

    Raises:
        DataError: if there is no such image or folder, two images have one name, or
            none has a mask.
    """
    if masks is not None and not Path(masks).is_dir():
        raise DataError(f'no folder of masks at {masks}; check the path')
    found = []
    for image in gather_images(list(files)):
        mask = None if masks is None else Path(masks, image.name + MASK_SUFFIX)
        path = str(mask) if mask is not None and mask.is_file() else None
        found.append(ComparedImage(image.name, str(image.path), mask_path=path))
    by_name(found)
    if masks is not None and not any(image.mask_path for image in found):
        raise DataError(
            f'{masks} has no mask of these images, as {found[0].name}{MASK_SUFFIX} '
            'would be one; name the folder that has them'
        )
    return found


def by_name(images: Sequence[ComparedImage]) -> dict[str, ComparedImage]:
    """Return images by their names.

    Raises:
        DataError: if two have one name.
    """
    found: dict[str, ComparedImage] = {}
    for image in images:
        if image.name in found:
            raise DataError(
                f'{found[image.name].path} and {image.path} are both called '
                f'{image.name}: give the folder that holds both'
            )
        found[image.name] = image
    return found


def named_images(
    images: Sequence[ComparedImage], names: Sequence[str]
) -> list[ComparedImage]:
    """Return the images of these names, in this order.

    Raises:
        ConfigError: if one is not among them.
    """
    known = by_name(images)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f'no image {unknown[0]!r}; there are {len(known)}, as '
            f'{some_names(sorted(known))}'
        )
    return [known[name] for name in names]


def evenly(images: Sequence[ComparedImage], count: int) -> list[ComparedImage]:
    """Return images at even distances, as many as there are at most.

    Raises:
        ConfigError: if none is asked for.
    """
    if count < 1:
        raise ConfigError(f'expected at least one image, asked for {count}')
    places = np.linspace(0, len(images) - 1, min(count, len(images)))
    return [images[place] for place in places.round().astype(int)]
