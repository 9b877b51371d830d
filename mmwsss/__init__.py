"""Weakly-supervised semantic segmentation for the OpenMMLab stack.

Importing the package registers the scope ``mmwsss`` and nothing heavier:
mmseg, mmpretrain and timm load when a config first builds one of our classes.
"""

from mmwsss import registry as registry
from mmwsss.utils.dependencies import check_versions
from mmwsss.utils.packaged_files import get_config as get_config
from mmwsss.version import __version__ as __version__

check_versions()
