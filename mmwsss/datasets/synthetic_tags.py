"""The embedded data set as mmseg reads it."""

from mmwsss.datasets.synthetic import SYNTHETIC_METAINFO
from mmwsss.datasets.tag_dataset import TagDataset
from mmwsss.registry import DATASETS


@DATASETS.register_module()
class SyntheticTagDataset(TagDataset):
    """Images that ``tools/dataset_converters/synthetic.py`` has generated.

    Constructor as in ``TagDataset``, less the class names, which are the generator's.
    """

    METAINFO = SYNTHETIC_METAINFO
    tag_command = 'python tools/dataset_converters/synthetic.py {data_root}'
