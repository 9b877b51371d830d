"""PASCAL VOC 2012 with image tags."""

from __future__ import annotations

from mmseg.datasets import PascalVOCDataset

from mmwsss.datasets.tag_dataset import TagDataset
from mmwsss.registry import DATASETS


@DATASETS.register_module()
class VOCTagDataset(TagDataset, PascalVOCDataset):
    """mmseg's ``PascalVOCDataset`` with tags; see ``TagDataset`` for arguments."""

    tag_command = (
        'python tools/dataset_converters/voc_tags.py {data_root} --split {split}'
    )
