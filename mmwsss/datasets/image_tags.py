"""A user's own images with tags, and with pseudo labels made from them."""

from __future__ import annotations

import logging
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine import fileio
from mmengine.logging import print_log

from mmwsss.datasets.image_folder import (
    files_of,
    folders_of,
    in_share,
    list_images,
)
from mmwsss.datasets.palette import class_palette
from mmwsss.datasets.pseudo_label import PseudoLabelDataset
from mmwsss.datasets.tag_dataset import TagDataset, join_root
from mmwsss.datasets.tag_list import (
    BACKGROUND,
    read_text,
    some_names,
    unknown_class,
    written_name,
)
from mmwsss.datasets.tag_table import (
    TagTable,
    folder_table,
    plain_path,
    read_multi_hot,
    read_tag_table,
)
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import ConfigError, DataError

PARTS = ('train', 'val')
MAX_CLASSES = 254
"""Labels are 8 bits; 0 is the background, 255 undecided."""


@DATASETS.register_module()
class ImageTagDataset(TagDataset):
    """Images in a folder and its sub-folders, with tags in a file.

    Names may hold spaces and any letters, images may be of several formats. An
    image's id is its path in the folder without the suffix. Colours of the classes
    are made from their order.

    Args:
        ann_file: List of image paths or ids, one a line; ``''`` takes every image that
            ``tag_file`` names, or every one without a ``tag_file``.
        classes: Names of the classes without the background, or a text file with one a
            line; None takes those that ``tag_file`` states, else the sorted ones that
            occur in it.
        tag_file: See ``read_tag_table`` and, for ``.npy``, ``read_multi_hot``; or the
            image folder itself, whose folders are then the classes; None attaches no
            tags.
        part: ``'train'`` or ``'val'`` of the images, for data without lists; None
            takes all. Which part an image is of depends on its id alone.
        val_share: Share of ``'val'`` in (0, 1).
        without_mask: What to do, where masks are wanted, with an image that has none:
            ``'error'``, or ``'drop'`` to leave it out.
        data_root: Folder that relative paths start from.
        data_prefix: Folders ``img_path`` and, for evaluation, ``seg_map_path`` with a
            mask ``<id>.png`` an image.
        kwargs: Arguments of ``TagDataset`` and mmseg's ``BaseSegDataset``, which reject
            unknown ones.

    Raises:
        DataError: if a file is missing or not of its format, an entry names no image
            or an unknown class, two images have one id, or no image is left.
        ConfigError: if the classes are not known or not usable, or arguments exclude
            each other.
    """

    def __init__(
        self,
        ann_file: str = '',
        *,
        classes: Sequence[str] | str | None = None,
        tag_file: str | None = None,
        part: str | None = None,
        val_share: float = 0.1,
        without_mask: str = 'error',
        data_root: str | None = None,
        data_prefix: dict[str, str],
        **kwargs: Any,
    ) -> None:
        if part is not None and (part not in PARTS or ann_file):
            raise ConfigError(
                f'part: expected one of {PARTS} or None, and no ann_file beside it, '
                f'got {part!r} and ann_file={ann_file!r}'
            )
        if not 0 < val_share < 1:
            raise ConfigError(f'val_share: expected a share in (0, 1), got {val_share}')
        if without_mask not in ('error', 'drop'):
            raise ConfigError(
                f"without_mask: expected 'error' or 'drop', got {without_mask!r}"
            )
        self.part, self.val_share, self.without_mask = part, val_share, without_mask
        self._backend = kwargs.get('backend_args')
        self.tag_file = tag_file and join_root(data_root, tag_file)
        self._check_paths(data_root, ann_file, data_prefix, self._backend)
        self._table = self._read_table(join_root(data_root, data_prefix['img_path']))
        names = self._class_names(classes, data_root)
        if kwargs.get('metainfo'):
            raise ConfigError('metainfo is made from classes; set classes instead')
        super().__init__(
            ann_file,
            tag_file=tag_file,
            data_root=data_root,
            data_prefix=data_prefix,
            **{
                **kwargs,
                'metainfo': dict(
                    classes=(BACKGROUND, *names), palette=class_palette(len(names) + 1)
                ),
            },
        )

    def _read_table(self, folder: str) -> TagTable | None:
        path = self.tag_file
        if path is None:
            return None
        if fileio.isdir(path, backend_args=self._backend):
            if osp.normpath(path) != osp.normpath(folder):
                raise ConfigError(
                    f'tag_file {path} is a folder: set it to the image folder {folder} '
                    'for tags by folder, or to a file'
                )
            return folder_table(
                folder,
                list_images(folder, self._backend).values(),
                folders=folders_of(folder, self._backend),
            )
        if path.lower().endswith('.npy'):
            return None
        return read_tag_table(path, backend_args=self._backend)

    def _class_names(
        self, classes: Sequence[str] | str | None, data_root: str | None
    ) -> tuple[str, ...]:
        if isinstance(classes, str):
            path = join_root(data_root, classes)
            if not fileio.exists(path, backend_args=self._backend):
                raise DataError(f'{path} does not exist; set classes in the config')
            classes = self._lines(path)
        elif classes is None and self._table is not None:
            found = {name for entry in self._table.entries for name in entry.names}
            classes = self._table.classes or sorted(found)
        return check_classes(classes)

    def load_data_list(self) -> list[dict]:
        """Return mmseg's records, with tags where there is a tag file."""
        images = list_images(self.data_prefix['img_path'], self._backend)
        index = {plain_path(path): image_id for image_id, path in images.items()}
        index = {plain_path(image_id): image_id for image_id in images} | index
        tags = self._tags(images, index) if self.tag_file else None
        ids = self._with_mask(self._of_part(self._listed(images, index, tags)))
        if not ids:
            raise DataError(
                f'{self.ann_file or self.data_prefix["img_path"]} lists no image; '
                'set dataset.ann_file and dataset.data_prefix in the config'
            )
        records = [self._record(image_id, images[image_id], tags) for image_id in ids]
        return records if tags is None else self._without_empty(ids, records)

    @property
    def split(self) -> str:
        """Name of the images that are read."""
        return self.part or super().split

    def _record(
        self, image_id: str, path: str, tags: Mapping[str, list[int]] | None
    ) -> dict:
        record = dict(
            img_path=osp.join(self.data_prefix['img_path'], path),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )
        if 'seg_map_path' in self.data_prefix:
            mask = image_id + self.seg_map_suffix
            record['seg_map_path'] = osp.join(self.data_prefix['seg_map_path'], mask)
        if tags is not None:
            record['gt_label'] = tags[image_id]
        return record

    def _tags(
        self, images: Mapping[str, str], index: Mapping[str, str]
    ) -> dict[str, list[int]]:
        """Return the tags of all images that the file has, by id."""
        classes = self.metainfo['classes'][1:]
        assert self.tag_file is not None
        if self._table is None:
            ids = self._read_list(index) if self.ann_file else list(images)
            hot = read_multi_hot(
                self.tag_file,
                images=len(ids),
                classes=len(classes),
                backend_args=self._backend,
            )
            return {i: row.nonzero()[0].tolist() for i, row in zip(ids, hot)}
        entries = self._table.entries
        lost = [entry for entry in entries if entry.path not in index]
        if lost:
            raise DataError(
                f'{lost[0].place}: no image {lost[0].path!r} in '
                f'{self.data_prefix["img_path"]} ({len(lost)} of {len(entries)} '
                'entries have none); paths start from data_prefix.img_path'
                f'{", a head line reads path,tags" if lost[0] is entries[0] else ""}'
            )
        numbers = {written_name(name): number for number, name in enumerate(classes)}
        tags: dict[str, list[int]] = {}
        for entry in entries:
            found = {written_name(name) for name in entry.names}
            if unknown := sorted(found - numbers.keys()):
                raise DataError(unknown_class(entry.place, unknown[0], numbers))
            if index[entry.path] in tags:
                raise DataError(f'{entry.place}: {entry.path} is listed twice')
            tags[index[entry.path]] = sorted(numbers[name] for name in found)
        return tags

    def _listed(
        self,
        images: Mapping[str, str],
        index: Mapping[str, str],
        tags: Mapping[str, list[int]] | None,
    ) -> list[str]:
        if self.ann_file:
            ids = self._read_list(index)
        elif tags is None:
            return list(images)
        else:
            ids = [image_id for image_id in images if image_id in tags]
        untagged = [i for i in ids if tags is not None and i not in tags]
        if untagged:
            raise DataError(
                f'{self.tag_file} has no entry for {some_names(untagged)}, which '
                f'{self.ann_file} names; add its tags, or take it off the list'
            )
        if not self.ann_file:
            left = sorted(images.keys() - set(ids))
            self._note(left, f'has no entry in {self.tag_file}')
        return ids

    def _read_list(self, index: Mapping[str, str]) -> list[str]:
        names = self._lines(self.ann_file)
        lost = [name for name in names if plain_path(name) not in index]
        if lost:
            raise DataError(
                f'{self.ann_file} names images that {self.data_prefix["img_path"]} '
                f'does not have ({some_names(lost)}); paths start from '
                'data_prefix.img_path'
            )
        ids = [index[plain_path(name)] for name in names]
        if twice := [i for i, count in Counter(ids).items() if count > 1]:
            raise DataError(f'{self.ann_file} lists {some_names(twice)} twice')
        return ids

    def _lines(self, path: str) -> list[str]:
        text = read_text(path, backend_args=self._backend)
        return [line.strip() for line in text.splitlines() if line.strip()]

    def _of_part(self, ids: list[str]) -> list[str]:
        if self.part is None:
            return ids
        chosen = [i for i in ids if (self.part == 'val') == in_share(i, self.val_share)]
        if not chosen:
            raise DataError(
                f'none of the {len(ids)} images falls to part={self.part!r} with '
                f'val_share={self.val_share}; change it, or give lists by ann_file'
            )
        return chosen

    def _with_mask(self, ids: list[str]) -> list[str]:
        folder = self.data_prefix.get('seg_map_path')
        if folder is None:
            return ids
        masks = set(files_of(folder, self.seg_map_suffix, self._backend))
        lacking = [i for i in ids if i + self.seg_map_suffix not in masks]
        if lacking and (self.without_mask == 'error' or len(lacking) == len(ids)):
            raise DataError(
                f'{folder} has no mask for {len(lacking)} of {len(ids)} images '
                f"({some_names(lacking)}); add them, or set without_mask='drop' to "
                'measure on the others'
            )
        self._note(lacking, f'has no mask in {folder}')
        return [image_id for image_id in ids if image_id not in set(lacking)]

    def _note(self, left: list[str], reason: str) -> None:
        if left:
            print_log(
                f'{type(self).__name__}: {len(left)} images left out '
                f'({some_names(left)}): each {reason}',
                logger='current',
                level=logging.WARNING,
            )

    def image_id(self, img_path: str) -> str:
        """Return an image's id: its path in the image folder without the suffix."""
        folder = self.data_prefix['img_path']
        path = img_path.removeprefix(folder).replace('\\', '/').lstrip('/')
        return osp.splitext(path)[0]


@DATASETS.register_module()
class ImagePseudoLabelDataset(PseudoLabelDataset, ImageTagDataset):
    """``PseudoLabelDataset`` of a user's own images; see both for arguments."""

    def _with_mask(self, ids: list[str]) -> list[str]:
        return ids  # the manifest tells which images have a label


def check_classes(classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return class names without the background.

    Raises:
        ConfigError: if there are none or too many, or one is empty, repeated or
            reserved for the background.
    """
    if classes is None:
        raise ConfigError('the classes are not known; set classes in the config')
    if isinstance(classes, str) or not all(isinstance(n, str) for n in classes):
        raise ConfigError(f'classes: expected a list of names, got {classes!r}')
    names = [name.strip() for name in classes]
    names = names[1:] if names[:1] == [BACKGROUND] else names
    written = [written_name(name) for name in names]
    if not names or len(names) > MAX_CLASSES:
        raise ConfigError(f'classes: expected 1..{MAX_CLASSES} names, got {len(names)}')
    if '' in names or BACKGROUND in names or len(set(written)) < len(written):
        raise ConfigError(
            f'classes: a name is empty, repeated or {BACKGROUND!r} in {names}'
        )
    return tuple(names)
