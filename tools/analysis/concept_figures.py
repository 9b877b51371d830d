"""Draw the figures of docs/concepts.md and docs/limits.md, of generated images alone.

python tools/analysis/concept_figures.py --out docs/images
python tools/analysis/concept_figures.py --out docs/images --pipeline work_dirs/acr
The first draws what needs no trained network; colours stand for features there. The
second draws also, with the networks of a finished pipeline of ACR on the embedded data
set: the chain, the curve over thresholds, and objects that touch, whose figures it
prints. The same pipeline gives the same files.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import SYNTHETIC_METAINFO, Scene, draw_scene
from mmwsss.functional.attention import attention_consistency, feature_affinity
from mmwsss.functional.clustering import kmeans
from mmwsss.functional.localization import min_max_normalize
from mmwsss.functional.memory import write_regions_
from mmwsss.functional.regions import masked_average, region_masks
from mmwsss.functional.views import (
    apply_dihedral,
    inverse_token_order,
    permute_attention,
)
from mmwsss.utils.atomic import atomic_write_bytes
from mmwsss.utils.randomness import Use, counted_generator
from mmwsss.visualization.panels import (
    HEAT,
    TITLE_SIZE,
    figure_bytes,
    numbered,
    panels,
    show,
)

SIZE = 96
PATCH = 8
TEMPERATURE = 0.1
"""Of the affinity of colours; small, as colours of a scene are alike."""
COLOURS = 256
GREY = (0.299, 0.587, 0.114)
SLOTS, PROTOTYPES, SCENES = 20, 3, 150
MOMENTUM = 0.9


def patch_colours(image: Tensor, patch: int) -> Tensor:
    """Return mean colours of the patches, (n, 3) float64 in [0, 1], row by row."""
    pooled = F.avg_pool2d(image.double()[None], patch)[0]
    return pooled.flatten(1).T / 255


def colour_attention(image: Tensor, patch: int) -> Tensor:
    """Return the affinity of colours (1, 1 + n, 1 + n), the class token's being 0.

    Args:
        image: (3, H, W) in 0..255.
        patch: Side of a patch in pixels.
    """
    colours = patch_colours(image, patch)
    affinity = feature_affinity(
        (colours - colours.mean(0))[None], temperature=TEMPERATURE
    )
    return F.pad(affinity, (1, 0, 1, 0))


def as_tensor(scene: Scene) -> Tensor:
    """Return a scene's image as (3, H, W)."""
    return torch.from_numpy(scene.image).permute(2, 0, 1)


def permutation_figure(name: str = 'rot90') -> Figure:
    """Draw what a view does to 4 x 4 patches and to attention, and the way back."""
    side = 4
    tokens = torch.arange(side * side).view(side, side)
    index = inverse_token_order(name, (side, side))
    seen = apply_dihedral(tokens, name)
    back = seen.flatten()[index[1:] - 1].view(side, side)
    image = as_tensor(draw_scene(0, 'train', 8, SIZE))
    own = colour_attention(image, SIZE // side)
    other = colour_attention(apply_dihedral(image, name), SIZE // side)
    restored = permute_attention(other, index)
    figure, grid = panels(2, 4)
    places = (index[1:] - 1).view(side, side)
    titles = ('patches of the image', f'of the view ({name})')
    titles += ('where each patch went', 'view, read in this order')
    for axes, numbers, title in zip(grid[0], (tokens, seen, places, back), titles):
        numbered(axes, numbers, title)
    top = own[0, 1:, 1:].max()
    worst = float((restored - own).abs().max())
    matrices = (own, other, restored, (restored - own).abs())
    titles = ('A of the image', "A' of the view", "A', rows, columns moved")
    titles += (f'difference to A: {worst:.3f}',)
    for axes, matrix, title in zip(grid[1], matrices, titles):
        show(axes, matrix[0, 1:, 1:], title, cmap=HEAT, vmin=0, vmax=top)
    return figure


def consistency_figure(patch: tuple[int, int] = (8, 5)) -> Figure:
    """Draw the affinity of one patch in an image and in a flipped grey view."""
    image = as_tensor(draw_scene(0, 'train', 0, SIZE)).double()
    grey = torch.einsum('c,chw->hw', image.new_tensor(GREY), image).expand_as(image)
    view = apply_dihedral(grey, 'hflip')
    side = SIZE // PATCH
    index = inverse_token_order('hflip', (side, side))
    own, other = colour_attention(image, PATCH), colour_attention(view, PATCH)
    restored = permute_attention(other, index)
    _, affinity = attention_consistency([own], [restored])
    place = 1 + patch[0] * side + patch[1]
    mirrored = int(index[place])
    rows = (own[0, place, 1:], other[0, mirrored, 1:], restored[0, place, 1:])
    first, second, back = (row.view(side, side) for row in rows)
    top = float(max(row.max() for row in rows))
    figure, grid = panels(1, 6)
    show(grid[0][0], image.permute(1, 2, 0).byte(), 'image, a patch')
    show(grid[0][1], first, "the patch's row of A", cmap=HEAT, vmin=0, vmax=top)
    show(grid[0][2], view.permute(1, 2, 0).byte(), 'view: hflip, grey')
    show(grid[0][3], second, "its row of A'", cmap=HEAT, vmin=0, vmax=top)
    show(grid[0][4], back, 'moved back', cmap=HEAT, vmin=0, vmax=top)
    show(grid[0][5], (back - first).abs(), 'difference', cmap=HEAT, vmin=0, vmax=top)
    for axes, column in ((grid[0][0], patch[1]), (grid[0][2], side - 1 - patch[1])):
        mark_patch(axes, patch[0], column)
    figure.supxlabel(
        f'affinity consistency, the mean of all pairs: {float(affinity):.4f}',
        fontsize=TITLE_SIZE,
    )
    return figure


def mark_patch(axes: Any, row: int, column: int) -> None:
    """Frame a patch."""
    left, top = column * PATCH - 0.5, row * PATCH - 0.5
    x, y = np.array([0, PATCH, PATCH, 0, 0]), np.array([0, 0, PATCH, PATCH, 0])
    axes.plot(left + x, top + y, color='white', linewidth=1.5)


def opponent_colours(scene: Scene) -> Tensor:
    """Return red less green and yellow less blue, (1, 2, h, w), a cell a patch."""
    red, green, blue = as_tensor(scene).double() / 255
    planes = torch.stack([red - green, (red + green) / 2 - blue])
    return F.avg_pool2d(planes[None], PATCH)


def soft_maps(scene: Scene) -> tuple[Tensor, Tensor]:
    """Return classes (k,) and blurred masks (k, h, w) in place of a network's maps."""
    label = torch.from_numpy(scene.label)
    found = [int(v) for v in label.unique() if 0 < v < len(palette())]
    planes = torch.stack([(label == value).double() for value in found])[None]
    cells = F.avg_pool2d(planes, PATCH)
    wide = F.avg_pool2d(cells, 3, stride=1, padding=1)[0]
    return torch.tensor(found) - 1, min_max_normalize(wide)


def palette() -> list[list[int]]:
    """Return the colours of the embedded data set's classes, background first."""
    return SYNTHETIC_METAINFO['palette']


def fill_memory(scenes: int) -> tuple[Tensor, Tensor]:
    """Return a bank (C, L, 2) that has seen so many scenes, and its counts (C,)."""
    classes = len(palette()) - 1
    bank = torch.zeros(classes, SLOTS, 2, dtype=torch.float64)
    pointer = torch.zeros(classes, dtype=torch.int64)
    count = torch.zeros_like(pointer)
    for number in range(scenes):
        scene = draw_scene(0, 'train', number, SIZE)
        present, maps = soft_maps(scene)
        masks = region_masks(maps)[None]
        means, found = masked_average(opponent_colours(scene), masks)
        rows, own = means[0][found[0]], present[found[0]]
        write_regions_(bank, pointer, count, rows, own, momentum=MOMENTUM)
    return bank, count


def memory_figure() -> Figure:
    """Draw a region, the bank that many regions filled, and its prototypes."""
    scene = draw_scene(0, 'train', 3, SIZE)
    present, maps = soft_maps(scene)
    bank, count = fill_memory(SCENES)
    valid = torch.arange(SLOTS) < count[:, None]
    generator = counted_generator(Use.CLUSTERS, 0)
    clusters = kmeans(bank, valid, num_clusters=PROTOTYPES, generator=generator)
    names = SYNTHETIC_METAINFO['classes'][1:]
    tag = int(present[0])
    figure, grid = panels(1, 4, height=1.3)
    show(grid[0][0], scene.image, f'image, tag {names[tag]}')
    show(grid[0][1], maps[0], 'class map', cmap=HEAT, vmin=0, vmax=1)
    show(grid[0][2], region_masks(maps)[0], 'region: above its mean', cmap='gray')
    axes = grid[0][3]
    for own, name in enumerate(names):
        colour = np.array(palette()[own + 1]) / 255
        axes.scatter(*bank[own][valid[own]].T, s=6, color=colour, label=name)
        stars = clusters.centres[own].T
        axes.scatter(*stars, s=70, marker='*', color=colour, edgecolor='black')
    axes.set_title(f'bank of {SLOTS} slots a class', fontsize=TITLE_SIZE)
    axes.set_xlabel('red – green', fontsize=TITLE_SIZE)
    axes.set_ylabel('yellow – blue', fontsize=TITLE_SIZE)
    figure.legend(loc='outside lower center', ncols=len(names), fontsize=TITLE_SIZE)
    return figure


DRAWN: dict[str, Callable[[], Figure]] = {
    'permutation': permutation_figure,
    'consistency': consistency_figure,
    'memory': memory_figure,
}
"""Figures that need no trained network, by the name of their file."""


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG with a palette, which takes half of the space."""
    atomic_write_bytes(path, figure_bytes(figure, '.png', colours=COLOURS))


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the PNGs')
    parser.add_argument(
        '--pipeline', type=Path, help='work directory of tools/run_pipeline.py'
    )
    return parser.parse_args()


def main() -> None:
    """Draw."""
    args = parse_arguments()
    figures = {name: draw() for name, draw in DRAWN.items()}
    if args.pipeline:
        from concept_chain import chain_figures

        figures |= chain_figures(args.pipeline)
    for name, figure in figures.items():
        path = args.out / f'{name}.png'
        write_picture(figure, path)
        print(f'{path}: {path.stat().st_size} bytes')


if __name__ == '__main__':
    run_tool(main)
