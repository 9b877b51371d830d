"""PASCAL VOC 2012 with image tags, in the layouts that its extra masks come in."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from mmengine import fileio
from mmseg.datasets import PascalVOCDataset

from mmwsss.datasets.tag_dataset import TagDataset, join_root
from mmwsss.datasets.tag_list import read_text, some_names
from mmwsss.registry import DATASETS
from mmwsss.utils.errors import DataError

OFFICIAL = 'SegmentationClass'
AUGMENTED = 'SegmentationClassAug'
SPELLINGS = {'train_aug': 'trainaug', 'trainaug': 'train_aug'}
PUBLIC_LISTS = {
    'train': (1464, 'the seed protocol measures seeds on it'),
    'val': (1449, 'segmentation is measured on it'),
    'trainval': (2913, 'train and val'),
    **dict.fromkeys(SPELLINGS, (10582, 'the seed protocol trains on it')),
}
"""Number of images and use of the lists that the field has in common."""


def spelled_list(path: str, *, backend_args: dict | None = None) -> str:
    """Return the path of a list, spelled as it is there: ``train_aug`` or ``trainaug``.

    Args:
        path: A list that may be absent.
        backend_args: mmengine's file backend.
    """
    stem, suffix = osp.splitext(osp.basename(path))
    other = osp.join(osp.dirname(path), SPELLINGS.get(stem, stem) + suffix)
    here, there = (fileio.exists(p, backend_args=backend_args) for p in (path, other))
    return other if there and not here else path


def read_voc_list(path: str, *, backend_args: dict | None = None) -> list[str]:
    """Return the image ids of a list.

    A line is an id, or the image's path and its mask's as in
    ``/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png``.

    Args:
        path: The list.
        backend_args: mmengine's file backend.

    Raises:
        DataError: if it lists an image twice or is not in UTF-8.
    """
    lines = read_text(path, backend_args=backend_args).splitlines()
    words = [line.split()[0] for line in lines if line.strip()]
    ids = [PurePosixPath(word).stem if '/' in word else word for word in words]
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise DataError(f'{path} lists {some_names(twice)} twice; keep one line each')
    return ids


class VOCLists(PascalVOCDataset):
    """mmseg's ``PascalVOCDataset`` that reads both forms of lists and mask folders."""

    def load_data_list(self) -> list[dict]:
        """Return a record an image; masks come from the folder that has them.

        The extra masks lie in ``SegmentationClassAug``: in some copies of all images,
        in others only of those that VOC itself has no mask of.
        """
        masks = self.data_prefix.get('seg_map_path')
        official = None
        if masks and osp.basename(osp.normpath(masks)) == AUGMENTED:
            official = osp.join(osp.dirname(osp.normpath(masks)), OFFICIAL)
        records = []
        for image_id in read_voc_list(self.ann_file, backend_args=self.backend_args):
            path = osp.join(self.data_prefix['img_path'], image_id + self.img_suffix)
            record = dict(
                img_path=path,
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            if masks:
                name = image_id + self.seg_map_suffix
                own = osp.join(masks, name)
                if official and not fileio.exists(own, backend_args=self.backend_args):
                    own = osp.join(official, name)
                record['seg_map_path'] = own
            records.append(record)
        return records


@DATASETS.register_module()
class VOCTagDataset(TagDataset, VOCLists):
    """PASCAL VOC 2012 with tags; see ``TagDataset`` for arguments.

    The log says whether a list is the public one, on which the field trains
    (``train_aug``, 10,582 images) or measures seeds (``train``, 1,464).
    """

    title = 'PASCAL VOC 2012'
    public_lists = PUBLIC_LISTS

    tag_command = (
        'python tools/dataset_converters/voc_tags.py {data_root} --split {split}'
    )

    def __init__(
        self, ann_file: str = '', *, data_root: str | None = None, **kwargs: Any
    ) -> None:
        if ann_file:
            found = spelled_list(
                join_root(data_root, ann_file), backend_args=kwargs.get('backend_args')
            )
            # below data_root still, which may be relative and is joined once more
            ann_file = osp.join(osp.dirname(ann_file), osp.basename(found))
        super().__init__(ann_file, data_root=data_root, **kwargs)
