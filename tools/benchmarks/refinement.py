"""PAMR: the product against neighbours gathered dilation by dilation.

python tools/benchmarks/refinement.py --json refinement.json
An image of 375x500 pixels, four labels, six dilations, ten iterations.
"""

from __future__ import annotations

import torch
from measuring import Times, in_turns, parser_of, prepare, relative_difference, report
from reference.pamr import refine

from mmwsss.functional.refinement.pamr import DILATIONS, pamr

ITERATIONS = 10


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=5)
    parser.add_argument('--labels', type=int, default=4)
    args = parser.parse_args()
    device = prepare(args)
    height, width = (60, 50) if args.small else (375, 500)
    image = torch.rand(3, height, width, device=device)
    maps = torch.rand(args.labels, height, width, device=device)
    sides = dict(
        product=lambda: pamr(maps, image, iterations=ITERATIONS),
        plain=lambda: refine(maps, image, DILATIONS, iterations=ITERATIONS),
    )
    deviation = relative_difference(sides['product'](), sides['plain']())
    times = in_turns(sides, repeats=args.repeats, device=device)
    figures = dict(
        ratio=times['plain'].median / times['product'].median,
        images_per_second=1 / times['product'].median,
        max_relative_difference=deviation,
    )
    case = dict(
        labels=args.labels,
        height=height,
        width=width,
        **{name: Times.summary(found) for name, found in times.items()},
        **figures,
    )
    report(args, cases=[case], **figures)


if __name__ == '__main__':
    main()
