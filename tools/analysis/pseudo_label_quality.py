"""Measure pseudo labels against masks: IoU, boundaries, and what is left undecided.

python tools/analysis/pseudo_label_quality.py configs/acr/vit_hybrid_voc.py \\
    work_dirs/pseudo_labels/acr_voc --loader test --metrics quality.json
The images are those of the config's data set (--loader) that have a label and a mask;
one at a time is in memory.

In percent, for each class: IoU, where undecided pixels (255) count as missed, and over
decided pixels alone; the share of the mask's pixels that is undecided; and boundary F,
averaged over the images where label or mask has a boundary of the class. F is the
harmonic mean of precision and recall of boundary pixels, which are right within a
distance of --tolerance times the image's diagonal (Csurka et al., BMVC 2013: 0.75 %).
Pixels that the mask ignores are not judged. Means are over the classes that occur.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from label_miou import Pair, data_set_of, measure, pairs, parser_of, write_figures
from numpy.typing import NDArray
from prettytable import PrettyTable

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.pseudo_label import MANIFEST, read_manifest
from mmwsss.functional.boundaries import boundary_counts, boundary_f
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.label_codec import IGNORED_LABEL

TOLERANCE = 0.0075
COLUMNS = {
    'IoU': 'IoU_classwise',
    'IoU decided': 'IoU_decided_classwise',
    'boundary F': 'boundary_F_classwise',
    'undecided': 'undecided_classwise',
}
MEANS = ('mIoU', 'mIoU_decided', 'boundary_F', 'undecided')


class BoundaryTotals:
    """Sums of boundary F over images, by class.

    Args:
        num_classes: With the background.
        tolerance: Distance that counts as right, as a share of the image's diagonal.
    """

    def __init__(self, num_classes: int, tolerance: float) -> None:
        self.tolerance = tolerance
        self.total = np.zeros(num_classes)
        self.images = np.zeros(num_classes, np.int64)

    def watch(self, found: Iterable[Pair]) -> Iterator[Pair]:
        """Pass label and mask of each image on, and add them."""
        for name, label, mask in found:
            self.add(label, mask)
            yield name, label, mask

    def add(self, label: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Add an image; values that are no class are left to others to refuse."""
        classes = np.union1d(label, mask)
        classes = classes[classes < len(self.total)].astype(int)
        counts = boundary_counts(
            torch.from_numpy(label.astype(np.int64)),
            torch.from_numpy(mask.astype(np.int64)),
            classes.tolist(),
            radius=self.tolerance * math.hypot(*label.shape),
            ignore_index=IGNORED_LABEL,
        )
        scores = boundary_f(counts).numpy()
        known = ~np.isnan(scores)
        self.total[classes[known]] += scores[known]
        self.images[classes[known]] += 1

    def figures(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return boundary F in percent; None for a class without a boundary."""
        shares = {
            name: round(100 * total / images, 2) if images else None
            for name, total, images in zip(
                classes, self.total.tolist(), self.images.tolist()
            )
        }
        known = self.total[self.images > 0] / self.images[self.images > 0]
        mean = round(100 * float(known.mean()), 2) if len(known) else None
        return dict(
            boundary_F=mean, tolerance=self.tolerance, boundary_F_classwise=shares
        )


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a table, a class a row and the means last."""
    rows = PrettyTable(['class', *COLUMNS])
    for name in figures['IoU_classwise']:
        rows.add_row([name, *(_text(figures[key][name]) for key in COLUMNS.values())])
    rows.add_divider()
    rows.add_row(['all', *(_text(figures[name]) for name in MEANS)])
    return str(rows)


def _text(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


def main() -> None:
    """Measure."""
    parser = parser_of(__doc__)
    parser.add_argument(
        '--tolerance',
        type=float,
        default=TOLERANCE,
        help="distance between boundaries, as a share of the image's diagonal",
    )
    args = parser.parse_args()
    if not 0 <= args.tolerance <= 1:
        raise ConfigError(f'--tolerance: expected 0..1, got {args.tolerance}')
    dataset = data_set_of(args)
    classes = dataset.metainfo['classes']
    boundaries = BoundaryTotals(len(classes), args.tolerance)
    figures = measure(
        dataset, boundaries.watch(pairs(dataset, Path(args.labels))), args
    )
    figures |= boundaries.figures(classes)
    supervision = read_manifest(Path(args.labels, MANIFEST)).get('extra_supervision')
    figures['extra_supervision'] = supervision
    print(
        f'{args.labels}: {figures["images"]} of {figures["of"]} images of '
        f'{figures["split"]}, extra supervision: {supervision or "none"}\n'
        f'{table(figures)}'
    )
    write_figures(figures, args.metrics)


if __name__ == '__main__':
    run_tool(main)
