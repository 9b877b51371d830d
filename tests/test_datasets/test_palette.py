"""Colours by rule, and COCO's classes."""

import pytest
from mmseg.datasets import PascalVOCDataset

from mmwsss.datasets import COCOTagDataset
from mmwsss.datasets.palette import class_palette


def test_colours_are_those_of_voc():
    expected = [list(colour) for colour in PascalVOCDataset.METAINFO['palette']]
    assert class_palette(21) == expected


def test_colours_differ():
    assert len({tuple(colour) for colour in class_palette(256)}) == 256


@pytest.mark.parametrize('count', [0, 257])
def test_more_classes_than_labels_are_refused(count):
    with pytest.raises(ValueError, match=f'expected 1..256, got {count}'):
        class_palette(count)


def test_coco_has_81_classes_that_tag_lists_can_name():
    classes = COCOTagDataset.METAINFO['classes']
    assert len(set(classes)) == len(classes) == 81
    assert not any(' ' in name for name in classes)
    # by category id 1, 13, 44 and 90 of 91, of which eleven are not used
    picked = [classes[i] for i in (0, 1, 12, 40, 80)]
    assert picked == ['background', 'person', 'stop_sign', 'bottle', 'toothbrush']
