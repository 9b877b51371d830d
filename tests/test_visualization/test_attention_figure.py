"""Matrices of two views: what each panel holds, and its scale."""

import numpy as np
import torch

from mmwsss.structures.observation import PatchAttention
from mmwsss.visualization.attention_figure import AttentionPair, attention_figure


def pair(**changes):
    first = torch.arange(400.0).view(20, 20)
    made = dict(
        first=first, second=first.flip(0), restored=first / 2, difference=first / 2
    )
    return AttentionPair(
        image=np.zeros((4, 4, 3), np.uint8),
        view=np.ones((4, 4, 3), np.uint8),
        patches=PatchAttention(**made | changes),
        activation=0.25,
        affinity=0.00123,
    )


def test_a_row_holds_both_images_and_four_matrices():
    shown = pair()
    figure = attention_figure([('ACR\na', shown), ('CAM\na', shown)], view='hflip')
    assert len(figure.axes) == 12
    arrays = [axes.images[0].get_array() for axes in figure.axes[:6]]
    patches = shown.patches
    matrices = (patches.first, patches.second, patches.restored, patches.difference)
    for array, drawn in zip(arrays, (shown.image, shown.view, *matrices)):
        np.testing.assert_array_equal(array, np.asarray(drawn))
    titles = [axes.get_title() for axes in figure.axes[:6]]
    assert titles[1] == 'view: hflip'
    assert titles[5] == 'difference, mean 1.23e-03'
    assert [figure.axes[i].get_ylabel() for i in (0, 6)] == ['ACR\na', 'CAM\na']
    limits = {axes.images[0].get_clim() for axes in figure.axes[2:6]}
    assert limits == {(0, shown.scale)}


def test_scale_passes_over_the_few_that_stand_out():
    # both matrices hold 0..399: the 796th of their 800 entries in order
    assert pair().scale == 397
    outlier = torch.zeros(20, 20)
    outlier[0, 0] = 1e6
    assert pair(first=outlier, second=outlier).scale == 0
    assert pair(first=torch.ones(1, 1), second=torch.ones(1, 1)).scale == 1
