"""Image-tag data sets, samplers and transforms."""

from mmwsss.datasets import samplers as samplers
from mmwsss.datasets import transforms as transforms
from mmwsss.datasets.coco import COCOTagDataset
from mmwsss.datasets.image_tags import ImagePseudoLabelDataset, ImageTagDataset
from mmwsss.datasets.pseudo_label import (
    COCOPseudoLabelDataset,
    PseudoLabelDataset,
    VOCPseudoLabelDataset,
)
from mmwsss.datasets.synthetic_tags import SyntheticTagDataset
from mmwsss.datasets.tag_dataset import TagDataset
from mmwsss.datasets.tag_list import (
    foreground_classes,
    read_tag_list,
    write_tag_list,
)
from mmwsss.datasets.voc import VOCTagDataset

__all__ = [
    'COCOPseudoLabelDataset',
    'COCOTagDataset',
    'ImagePseudoLabelDataset',
    'ImageTagDataset',
    'PseudoLabelDataset',
    'SyntheticTagDataset',
    'TagDataset',
    'VOCPseudoLabelDataset',
    'VOCTagDataset',
    'foreground_classes',
    'read_tag_list',
    'write_tag_list',
]
