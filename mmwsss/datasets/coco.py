"""COCO-2014 with image tags of its 80 object classes."""

from __future__ import annotations

from mmwsss.datasets.palette import class_palette
from mmwsss.datasets.tag_dataset import TagDataset
from mmwsss.registry import DATASETS

NAMES = (
    'background person bicycle car motorcycle airplane bus train truck boat '
    'traffic_light fire_hydrant stop_sign parking_meter bench bird cat dog horse sheep '
    'cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee '
    'skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard '
    'tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich '
    'orange broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed '
    'dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven '
    'toaster sink refrigerator book clock vase scissors teddy_bear hair_drier '
    'toothbrush'
)


@DATASETS.register_module()
class COCOTagDataset(TagDataset):
    """COCO-2014, background and 80 classes in the order of its category ids.

    Names are COCO's with ``_`` for spaces, as tag lists separate by spaces. See
    ``TagDataset`` for arguments; masks and tag lists are made from the official
    instance annotations by ``tools/dataset_converters/coco2014.py``.
    """

    title = 'COCO-2014'
    tag_command = (
        'python tools/dataset_converters/coco2014.py {data_root} --split {split}'
    )

    METAINFO = dict(
        classes=tuple(NAMES.split()), palette=class_palette(len(NAMES.split()))
    )
