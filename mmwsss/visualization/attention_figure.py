"""The attention of an image and of a view of it, as matrices side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from mmwsss.functional.attention import attention_consistency
from mmwsss.structures.observation import PatchAttention, ViewAttention
from mmwsss.visualization.overlays import Pixels
from mmwsss.visualization.panels import HEAT, TITLE_SIZE, panels, show

BRIGHTEST = 0.995
"""Share of the entries that the scale spans; a few that stand out would hide all."""


@dataclass(frozen=True, eq=False)
class AttentionPair:
    """An image and a view, and the attention between the patches of each.

    Args:
        image: (H, W, 3) RGB.
        view: (H', W', 3) RGB, as the network saw it.
        patches: The attention of both.
        activation: Activation consistency (ACR, eq. 4), L1.
        affinity: Affinity consistency (eq. 5), L1: the mean of the difference.
    """

    image: Pixels
    view: Pixels
    patches: PatchAttention
    activation: float
    affinity: float

    @property
    def scale(self) -> float:
        """Value that is drawn brightest."""
        entries = torch.cat(
            [self.patches.first.flatten(), self.patches.second.flatten()]
        )
        # torch's quantile takes no more than some millions
        rank = max(1, round(BRIGHTEST * entries.numel()))
        return float(entries.kthvalue(rank).values)


def view_consistency(views: ViewAttention) -> tuple[float, float]:
    """Return activation and affinity consistency of two views (ACR, eq. 4, 5), L1."""
    first, restored = (
        [attention[None].float() for attention in blocks]
        for blocks in (views.first, views.restored)
    )
    activation, affinity = attention_consistency(first, restored)
    return float(activation), float(affinity)


def attention_figure(rows: Sequence[tuple[str, AttentionPair]], *, view: str) -> Figure:
    """Draw a row for each pair: image, view, both matrices, moved back, difference.

    Args:
        rows: Labels and pairs; matrices of a row have one scale.
        view: What the view is called.
    """
    figure, grid = panels(len(rows), 6, height=1.12)
    for line, (label, pair) in zip(grid, rows):
        settings = dict(cmap=HEAT, vmin=0, vmax=pair.scale)
        show(line[0], pair.image, 'image')
        show(line[1], pair.view, f'view: {view}')
        show(line[2], pair.patches.first, 'A of the image', **settings)
        show(line[3], pair.patches.second, "A' of the view", **settings)
        show(line[4], pair.patches.restored, "A' moved back", **settings)
        mean = f'difference, mean {pair.affinity:.2e}'
        show(line[5], pair.patches.difference, mean, **settings)
        line[0].set_ylabel(label, fontsize=TITLE_SIZE)
    return figure
