"""A data set with image tags; base of those with classes of their own."""

from __future__ import annotations

import logging
import os.path as osp
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
from mmengine import fileio
from mmengine.logging import print_log
from mmengine.utils import is_abs
from mmseg.datasets import BaseSegDataset

from mmwsss.datasets.tag_list import foreground_classes, read_tag_list, some_names
from mmwsss.datasets.transforms.loading import TagsFromMask
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import ConfigError, DataError

EMPTY_TAGS = ('error', 'drop')
BYTE_ORDER_MARK = '\ufeff'


@DATASETS.register_module()
class TagDataset(BaseSegDataset):
    """mmseg's ``BaseSegDataset`` whose records carry ``gt_label``.

    ``gt_label`` is the ascending list of foreground class indices (0 = first class
    after the background), present when there is a tag list. Masks are optional:
    without ``data_prefix.seg_map_path`` none is looked for. On its own the class
    reads a user's images, with ``metainfo=dict(classes=('background', ...),
    palette=[...])``; stood before another mmseg data set among the bases it adds
    tags to that one. Paths are checked before mmseg sees them, because its own
    checks are bare asserts. Once read, the log states the split, its number of images
    and where tags and masks come from.

    Args:
        ann_file: List of image ids; ``''`` takes every image of the folder.
        tag_file: Tag list (see ``mmwsss.datasets.tag_list``), relative to
            ``data_root``; ``None`` attaches no tags.
        empty_tags: What to do with an image without tags: ``'error'``, or
            ``'drop'`` to leave it out.
        data_root: Folder that relative paths start from.
        data_prefix: Folders ``img_path`` and, where masks are wanted,
            ``seg_map_path``.
        kwargs: Arguments of the mmseg class, which rejects unknown ones.

    Raises:
        DataError: if a path does not exist, the list of images is not in UTF-8 or
            names one twice, an image is not in the tag list, a class is unknown or, by
            default, an image has no tags.
        ConfigError: if ``empty_tags`` or ``data_prefix`` is not usable.
    """

    tag_command: str | None = None
    """Command that makes the tag list, with ``{data_root}`` and ``{split}``."""
    title: str | None = None
    """How the log calls the data set; None takes the name of the class."""
    mask_title = 'masks'
    """How the log calls the masks."""
    public_lists: ClassVar[Mapping[str, tuple[int, str]]] = {}
    """Number of images of public lists, and what the field does with them."""

    def __init__(
        self,
        ann_file: str = '',
        *,
        tag_file: str | None = None,
        empty_tags: str = 'error',
        data_root: str | None = None,
        data_prefix: dict[str, str],
        **kwargs: Any,
    ) -> None:
        if empty_tags not in EMPTY_TAGS:
            raise ConfigError(f'empty_tags: expected {EMPTY_TAGS}, got {empty_tags!r}')
        self.empty_tags = empty_tags
        self.tag_file = tag_file and join_root(data_root, tag_file)
        self._check_paths(data_root, ann_file, data_prefix, kwargs.get('backend_args'))
        super().__init__(
            ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs
        )

    def _check_paths(
        self,
        data_root: str | None,
        ann_file: str,
        data_prefix: dict[str, str],
        backend_args: dict | None,
    ) -> None:
        """Check that all files and folders named are there, ``tag_file`` too."""
        for key, path in _paths(data_root, ann_file, data_prefix).items():
            if not fileio.exists(path, backend_args=backend_args):
                raise DataError(f'{path} does not exist; set {key} in the config')
        if self.tag_file and not fileio.exists(self.tag_file, backend_args):
            raise DataError(self._missing_tag_file(data_root, ann_file))

    def _missing_tag_file(self, data_root: str | None, ann_file: str) -> str:
        message = f'{self.tag_file} does not exist; set dataset.tag_file in the config'
        if self.tag_command is None:
            return message
        command = self.tag_command.format(
            data_root=data_root, split=Path(ann_file).stem
        )
        return f'{message}, or make the list: {command}'

    def full_init(self) -> None:
        """Read the lists, once, and log what they hold."""
        if not self._fully_initialized:
            super().full_init()
            self._state()

    @property
    def split(self) -> str:
        """Name of the images that are read."""
        return Path(self.ann_file or self.data_prefix['img_path']).stem

    def _state(self) -> None:
        first, count = self.get_data_info(0), len(self)
        size, use = self.public_lists.get(self.split, (None, ''))
        note = f' (the public list; {use})' if use and count == size else ''
        differs = size not in (None, count)
        if differs:
            note = f', not the {size:,} of the public list'
        derives = any(isinstance(t, TagsFromMask) for t in self.pipeline.transforms)
        tags = 'tags of the masks' if derives else 'no tags'
        tags = f'tags of {self.tag_file}' if 'gt_label' in first else tags
        masks = f'no {self.mask_title}'
        if 'seg_map_path' in first:
            masks = f'{self.mask_title} of {self.data_prefix["seg_map_path"]}'
        name = f'{self.title or type(self).__name__} {self.split}'
        print_log(
            f'{name}: {count:,} images{note}, {tags}, {masks}',
            logger='current',
            level=logging.WARNING if differs else logging.INFO,
        )

    def load_data_list(self) -> list[dict]:
        """Return mmseg's records, with tags when a tag list is set."""
        try:
            records = super().load_data_list()
        except UnicodeDecodeError as error:
            raise DataError(
                f'{self.ann_file} is not in UTF-8 ({error}); save it as UTF-8'
            ) from None
        if not records:
            raise DataError(
                f'{self.ann_file or self.data_prefix["img_path"]} lists no image; '
                'set dataset.ann_file and dataset.data_prefix in the config'
            )
        self._check_names([self.image_id(record['img_path']) for record in records])
        return self._with_tags(records, self.tag_file) if self.tag_file else records

    def _check_names(self, ids: list[str]) -> None:
        if ids[0].startswith(BYTE_ORDER_MARK):
            raise DataError(
                f'{self.ann_file} starts with a byte order mark; save it as UTF-8 '
                'without one'
            )
        if twice := [name for name, count in Counter(ids).items() if count > 1]:
            raise DataError(
                f'{self.ann_file} lists {some_names(twice)} twice; keep one line each'
            )

    def _with_tags(self, records: list[dict], tag_file: str) -> list[dict]:
        classes = foreground_classes(self.metainfo)
        known = self.METAINFO.get('classes', ())
        tags = read_tag_list(
            tag_file,
            classes,
            unused_classes=set(known) - set(classes),
            backend_args=self.backend_args,
        )
        ids = [self.image_id(record['img_path']) for record in records]
        unlisted = [image_id for image_id in ids if image_id not in tags]
        if unlisted:
            raise DataError(
                f'{tag_file} has no line for {some_names(unlisted)}, which '
                f'{self.ann_file or "the image folder"} names; make the list for '
                'this split or set dataset.tag_file in the config'
            )
        for image_id, record in zip(ids, records):
            record['gt_label'] = tags[image_id]
        return self._without_empty(ids, records)

    def _without_empty(self, ids: list[str], records: list[dict]) -> list[dict]:
        kept = [record for record in records if record['gt_label']]
        if len(kept) == len(records):
            return kept
        empty = [i for i, record in zip(ids, records) if not record['gt_label']]
        if self.empty_tags == 'error' or not kept:
            raise DataError(
                f'{self.tag_file}: {len(empty)} of {len(ids)} images have no tags '
                f"({some_names(empty)}); correct the list, or set empty_tags='drop' "
                'to leave such images out'
            )
        print_log(
            f'{self.tag_file}: left out {len(empty)} of {len(ids)} images without tags',
            logger='current',
            level=logging.WARNING,
        )
        return kept

    def prepare_data(self, idx: int) -> Any:
        """Return what the pipeline makes of an image.

        Raises:
            DataError: if OpenCV cannot do what a transform asks of it.
        """
        try:
            return super().prepare_data(idx)
        except cv2.error as error:
            path = self.get_data_info(idx)['img_path']
            raise DataError(
                f'a transform cannot be done on {path} ({str(error).strip()}); an '
                'image many times longer than wide has nothing left when it is scaled '
                'down: cut it, or take it off the split (dataset.ann_file)'
            ) from error

    def image_id(self, img_path: str) -> str:
        """Return an image's id: its path in the image folder without the suffix."""
        folder = self.data_prefix['img_path']
        name = img_path.removeprefix(folder).replace('\\', '/').lstrip('/')
        return name.removesuffix(self.img_suffix)


def join_root(data_root: str | None, path: str) -> str:
    """Return a path, from the data root where it is relative."""
    return path if is_abs(path) or not data_root else osp.join(data_root, path)


def _paths(
    data_root: str | None, ann_file: str, data_prefix: dict[str, str]
) -> dict[str, str]:
    """Return the paths to check by config key, folders before their content."""
    if 'img_path' not in data_prefix:
        raise ConfigError(f'dataset.data_prefix needs img_path, got {data_prefix}')
    paths = {'dataset.data_root': data_root} if data_root else {}
    if ann_file:
        paths['dataset.ann_file'] = join_root(data_root, ann_file)
    for name, prefix in data_prefix.items():
        paths[f'dataset.data_prefix.{name}'] = join_root(data_root, prefix)
    return paths
