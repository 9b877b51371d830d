"""What a view does to the order of tokens and to attention, drawn on a few patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mmwsss.functional.views import (
    Grid,
    apply_dihedral,
    inverse_token_order,
    permute_attention,
)
from mmwsss.visualization.panels import (
    DPI,
    HEAD_INCHES,
    HEAT,
    PANEL_INCHES,
    SHADES,
    TITLE_SIZE,
    numbered,
    show,
)

SPREAD = 0.1
"""How unlike shades of [0, 1] may be that attend to each other."""
ORDER_WIDTH = 2.4
"""Of the panel with both orders, in widths of the others."""
LARGEST_NAMED = 16
"""Tokens that rows and columns of a matrix still have room to name."""
SMALL = 5.5


@dataclass(frozen=True, eq=False)
class TokenOrder:
    """A toy: patches with numbers, what a view makes of them, and of attention.

    Args:
        view: Name of the view, a key of ``DIHEDRAL``.
        patches: (gh, gw), the numbers of the image's patches, row by row.
        seen: The same as the view shows them; (gw, gh) if it swaps the sides.
        attention: (n, n) of the image.
        other: (n, n) of the view, in the order in which it sees the patches.
        restored: (n, n), the view's in the order of the image.
    """

    view: str
    patches: Tensor
    seen: Tensor
    attention: Tensor
    other: Tensor
    restored: Tensor

    @property
    def order(self) -> list[int]:
        """Numbers of the patches in the order of the view's tokens."""
        return self.seen.flatten().tolist()

    @property
    def places(self) -> list[int]:
        """Place among the view's tokens of each patch of the image."""
        return self.seen.flatten().argsort().tolist()


def token_order(view: str, grid: Grid) -> TokenOrder:
    r"""Make the toy of a view (ACR, supplement, eq. 12 and figure 1).

    A patch's shade is its number, and patches attend to those of like shade,
    :math:`A_{ij} = \mathrm{softmax}_j(-(s_i - s_j)^2 / \tau)`: attention follows what
    patches show, so that it moves with them, and the image's own is a band along the
    diagonal.

    Args:
        view: A key of ``DIHEDRAL``.
        grid: (gh, gw), patches of the image.

    Raises:
        ValueError: if there is no such view, or a side has no patch.
    """
    height, width = grid
    if min(grid) < 1:
        raise ValueError(f'grid: expected at least one patch a side, got {grid}')
    patches = torch.arange(height * width).view(height, width)
    seen = apply_dihedral(patches, view)
    own, other = (_attention(numbers.flatten()) for numbers in (patches, seen))
    restored = permute_attention(
        _behind_class_token(other), inverse_token_order(view, grid)
    )
    return TokenOrder(view, patches, seen, own, other, restored[0, 1:, 1:])


def _attention(numbers: Tensor) -> Tensor:
    """Return the attention (n, n) of patches with these numbers."""
    shades = numbers.double() / max(len(numbers) - 1, 1)
    return (-((shades[:, None] - shades) ** 2) / SPREAD**2).softmax(-1)


def _behind_class_token(attention: Tensor) -> Tensor:
    return torch.nn.functional.pad(attention, (1, 0, 1, 0))[None]


def token_order_figure(toys: Sequence[TokenOrder]) -> Figure:
    """Draw a row for each toy: patches, the view, both orders, and attention."""
    figure = Figure(
        figsize=(
            (5 + ORDER_WIDTH) * PANEL_INCHES,
            len(toys) * (PANEL_INCHES + HEAD_INCHES),
        ),
        dpi=DPI,
        layout='constrained',
    )
    FigureCanvasAgg(figure)
    ratios = [1, 1, ORDER_WIDTH, 1, 1, 1]
    grid = figure.subplots(len(toys), 6, squeeze=False, width_ratios=ratios)
    for line, toy in zip(grid, toys):
        for axes in line:
            axes.set(xticks=[], yticks=[])
        numbered(line[0], toy.patches, 'patches of the image')
        numbered(line[1], toy.seen, f'of the view ({toy.view})')
        _draw_orders(line[2], toy)
        own = toy.patches.flatten().tolist()
        worst = float((toy.restored - toy.attention).abs().max())
        _draw_matrix(line[3], toy.attention, 'A of the image', own)
        _draw_matrix(line[4], toy.other, "A' of the view", toy.order)
        _draw_matrix(line[5], toy.restored, f'moved back, off by {worst:.3f}', own)
    return figure


def _draw_orders(axes: Any, toy: TokenOrder) -> None:
    """Draw the tokens of the image above those of the view, like joined by a line."""
    count = toy.patches.numel()
    axes.axis('off')
    axes.set(xlim=(-1, count), ylim=(-0.35, 1.35))
    axes.set_title('tokens of the image, and of the view', fontsize=TITLE_SIZE)
    shades = torch.arange(count) / max(count - 1, 1)
    for number, place in enumerate(toy.places):
        axes.plot([number, place], [0.93, 0.07], color='0.6', linewidth=0.7, zorder=1)
    for height, numbers in ((1, toy.patches.flatten().tolist()), (0, toy.order)):
        axes.scatter(
            range(count),
            [height] * count,
            c=[float(shades[n]) for n in numbers],
            cmap=SHADES,
            vmin=0,
            vmax=1,
            marker='s',
            s=60 if count > LARGEST_NAMED // 2 else 120,
            zorder=2,
        )
        for place, number in enumerate(numbers):
            colour = 'black' if shades[number] > 0.5 else 'white'
            _write(axes, place, height, number, colour)


def _write(axes: Any, place: int, height: int, number: int, colour: str) -> None:
    settings: dict[str, Any] = dict(ha='center', va='center', fontsize=SMALL, zorder=3)
    axes.text(place, height, number, color=colour, **settings)


def _draw_matrix(axes: Any, matrix: Tensor, title: str, numbers: Sequence[int]) -> None:
    show(axes, matrix, title, cmap=HEAT, vmin=0)
    if len(numbers) <= LARGEST_NAMED:
        axes.set_xticks(range(len(numbers)), numbers)
        axes.set_yticks(range(len(numbers)), numbers)
        axes.tick_params(length=0, labelsize=SMALL, pad=1)
