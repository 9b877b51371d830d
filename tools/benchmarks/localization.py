"""ACR's localization maps: the product, the plain equations, and timm's forward pass.

python tools/benchmarks/localization.py --json localization.json
For each number of tags and images: the product (image and mirror image, all classes
and images as one batch), the plain reading, and two forward passes of timm's own model
without gradients, one of the images, one of their mirror images. ``forward_ratio`` is
the product's time over those two, ``ratio`` the plain reading's over the product's.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial

import torch
from measuring import (
    Times,
    goal,
    in_turns,
    parser_of,
    peak_in_child,
    precision,
    prepare,
    print_peak,
    relative_difference,
    report,
)
from models import acr, images, plain_acr, stock_timm, tags
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.models.classifiers import ACRClassifier

LIMITS = {'cpu': {'fp32': 1.25, 'bf16': 1.6}, 'cuda': {'fp32': 1.5, 'bf16': 1.5}}
RATIOS = {'cpu': {'fp32': 4.5, 'bf16': 8.0}}
DIFFERENCE = 1e-4


def localize(
    model: ACRClassifier, batch: Tensor, chosen: list[Tensor], args: Namespace
) -> Tensor:
    """Return the product's maps before normalization, (B, K, gh, gw)."""
    with torch.no_grad(), precision(args):
        return model.localizer.sum_views(
            model.backbone, model.cls_head, batch, lambda _: chosen
        )[2]


def localize_plain(
    model: ACRClassifier, batch: Tensor, chosen: list[Tensor], args: Namespace
) -> Tensor:
    """Return the plain reading's maps, image by image."""
    plain, start = plain_acr(model), model.localizer.start_block
    with precision(args):
        return torch.stack(
            [
                plain.maps(image[None], classes.tolist(), start_block=start)
                for image, classes in zip(batch, chosen)
            ]
        )


def sides(
    args: Namespace, device: torch.device, batch_size: int, per_image: int
) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    model = acr(small=args.small, device=device)
    batch = images(batch_size, small=args.small, device=device)
    chosen = tags(batch_size, per_image, device=device)
    stock = stock_timm(small=args.small, device=device)

    @torch.no_grad()
    def forward(*parts: Tensor) -> None:
        with precision(args):
            for part in parts:
                stock(part)

    return dict(
        product=partial(localize, model, batch, chosen, args),
        plain=partial(localize_plain, model, batch, chosen, args),
        two_forwards=partial(forward, batch, batch.flip(-1)),
        joint_forward=partial(forward, torch.cat([batch, batch.flip(-1)])),
    )


def difference(args: Namespace, runs: dict[str, Callable[[], object]]) -> float:
    """Return the product's largest difference from the plain reading in float32."""
    got = runs['product']()
    exact = Namespace(**vars(args) | dict(dtype='fp32'))
    plain = runs['plain']
    want = localize_plain(*plain.args[:3], exact)
    return relative_difference(got, want)


def measure(args: Namespace, device: torch.device, batch: int, per_image: int) -> dict:
    """Measure one number of images and tags."""
    runs = sides(args, device, batch, per_image)
    deviation = difference(args, runs)
    times = in_turns(runs, repeats=args.repeats, device=device)
    product = times['product'].median
    return dict(
        batch=batch,
        tags=per_image,
        **{name: Times.summary(found) for name, found in times.items()},
        ratio=times['plain'].median / product,
        forward_ratio=product / times['two_forwards'].median,
        joint_forward_ratio=product / times['joint_forward'].median,
        max_relative_difference=deviation,
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=5)
    parser.add_argument('--batch', type=int, nargs='+', help='images at once')
    parser.add_argument('--tags', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--peak-of', help='print the peak memory of one side')
    args = parser.parse_args()
    device = prepare(args)
    batches = args.batch or ([1] if args.device == 'cpu' else [1, 32])
    if args.peak_of:
        run = sides(args, device, batches[0], args.tags[0])[args.peak_of]
        print_peak(run, device)
        return
    cases = []
    for batch in batches:
        cases += [measure(args, device, batch, count) for count in args.tags]
        shared = ['--device', args.device, '--dtype', args.dtype, '--batch', str(batch)]
        shared += ['--small'] if args.small else []
        for side in ('product', 'plain'):
            peak = peak_in_child(side, [*shared, '--tags', str(args.tags[-1])])
            cases[-1][f'{side}_peak_mib'] = peak['peak']
    limit = LIMITS[args.device][args.dtype]
    worst = {
        'forward_ratio': max(case['forward_ratio'] for case in cases),
        'ratio': min(case['ratio'] for case in cases),
        'max_relative_difference': max(c['max_relative_difference'] for c in cases),
    }
    goals = [goal('two stock forwards', worst['forward_ratio'], at_most=limit)]
    if args.device in RATIOS:
        least = RATIOS[args.device][args.dtype]
        goals.append(goal('plain over product', worst['ratio'], at_least=least))
    if args.dtype == 'fp32':
        found = worst['max_relative_difference']
        goals.append(goal('largest relative difference', found, at_most=DIFFERENCE))
    report(args, cases=cases, goals=goals, **worst)


if __name__ == '__main__':
    run_tool(main)
