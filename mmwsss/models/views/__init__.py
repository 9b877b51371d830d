"""Second views of a batch, each with the way back for attention."""

from mmwsss.models.views.appearance import GreyView, PatchHidingView
from mmwsss.models.views.base import ComposedView, View, build_view
from mmwsss.models.views.geometric import DihedralView, ResizeView

__all__ = [
    'ComposedView',
    'DihedralView',
    'GreyView',
    'PatchHidingView',
    'ResizeView',
    'View',
    'build_view',
]
