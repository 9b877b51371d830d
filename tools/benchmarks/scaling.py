"""Cost against work: localization, evaluation of seeds, and a training step of ACR.

python tools/benchmarks/scaling.py --json scaling.json
Localization takes images one by one (``localization`` few with ViT-hybrid-B,
``many_images`` thousands with a small transformer), evaluation is ``SeedIoUMetric`` on
small generated maps, and the training step takes ever larger batches. A line is fitted
to the seconds: ``slope`` a unit of work, ``intercept``, and ``r2``, the share of the
variance that the line explains. ``memory_growth_mib`` is what the peak gains from the
least work to the most, each in a fresh process; that of thousands of images does not
depend on their number.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from localization import localize
from measuring import (
    Times,
    goal,
    in_turns,
    parser_of,
    peak_in_child,
    prepare,
    print_peak,
    report,
)
from mmengine.logging import MMLogger
from models import acr, images, tags
from train_step import Setup

from mmwsss.apis.launch import run_tool
from mmwsss.evaluation.metrics import SeedIoUMetric

CLASSES = tuple(f'class {index}' for index in range(21))
GRID, SIZE, INPUT = (8, 8), (40, 60), (64, 64)
R2, GROWTH = 0.99, 8.0
THOUSANDS = [1000, 2000, 4000]
WORK = dict(
    localization=[2, 4, 8],
    many_images=THOUSANDS,
    evaluation=THOUSANDS,
    training=[1, 2, 4],
)
SMALL_WORK = dict(
    localization=[1, 2], many_images=[2, 4], evaluation=[20, 40], training=[1, 2]
)
FLAT = ('many_images', 'evaluation')


def fit_line(work: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """Fit seconds = slope * work + intercept by least squares."""
    slope, intercept = np.polyfit(work, seconds, 1)
    values = np.asarray(seconds)
    rest = values - (slope * np.asarray(work) + intercept)
    total = np.square(values - values.mean()).sum()
    r2 = 1 - np.square(rest).sum() / total if total > 0 else 1.0
    return dict(slope=float(slope), intercept=float(intercept), r2=float(r2))


def draw_sample(index: int) -> dict:
    """Draw an image's maps and masks as the evaluator hands them over."""
    generator = torch.Generator().manual_seed(index)
    present = tuple(range(1 + index % 3))
    return dict(
        sample_idx=index,
        img_path=f'{index:06}.jpg',
        img_shape=INPUT,
        ori_shape=SIZE,
        gt_sem_seg=dict(data=torch.randint(0, 21, (1, *SIZE), generator=generator)),
        localization=dict(
            data=torch.rand((len(present), *GRID), generator=generator),
            classes=present,
            input_shape=INPUT,
            align_corners=False,
        ),
    )


def evaluate(count: int) -> dict[str, float]:
    """Measure the seeds of generated images."""
    metric = SeedIoUMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    for index in range(count):
        metric.process({}, [draw_sample(index)])
    return metric.evaluate(count)


def localizing(
    args: Namespace, device: torch.device, amounts: Sequence[int], *, small: bool
) -> dict[int, Callable[[], object]]:
    """Return the localization of images, one by one, of two tags each."""
    model = acr(small=small, device=device)
    (image,) = images(1, small=small, device=device)
    chosen = tags(max(amounts), 2, device=device)

    def run(count: int) -> None:
        for number, classes in enumerate(chosen[:count]):
            localize(model, image.roll(number)[None], [classes], args)

    return {amount: partial(run, amount) for amount in amounts}


def training(
    args: Namespace, device: torch.device, amounts: Sequence[int]
) -> dict[int, Callable[[], object]]:
    """Return the training steps of batches, all of one model."""
    setup = Setup(args, device, max(amounts))
    runs = {}
    for amount in amounts:
        part = copy.copy(setup)
        part.images, part.tags = setup.images[:amount], setup.tags[:amount]
        runs[amount] = part.step(part.product)
    return runs


def runs_of(
    args: Namespace, device: torch.device, kind: str
) -> dict[int, Callable[[], object]]:
    """Return the runs of a kind of work by their amount."""
    amounts = getattr(args, kind)
    if kind == 'evaluation':
        return {amount: partial(evaluate, amount) for amount in amounts}
    if kind == 'training':
        return training(args, device, amounts)
    small = args.small or kind == 'many_images'
    return localizing(args, device, amounts, small=small)


def peak(args: Namespace, kind: str, amount: int) -> dict[str, float]:
    """Return the memory before and at the peak of one amount of work, in MiB."""
    shared = ['--device', args.device, '--dtype', args.dtype]
    shared += ['--threads', str(args.threads)] if args.threads else []
    shared += ['--small'] if args.small else []
    option = f'--{kind.replace("_", "-")}'
    return peak_in_child(kind, [*shared, option, str(amount)])


def measure(args: Namespace, device: torch.device, kind: str) -> dict:
    """Measure a kind of work."""
    runs, amounts = runs_of(args, device, kind), getattr(args, kind)
    sides = {str(amount): run for amount, run in runs.items()}
    times = in_turns(sides, repeats=args.repeats, device=device)
    least, most = (peak(args, kind, amounts[end])['peak'] for end in (0, -1))
    medians = [times[str(amount)].median for amount in amounts]
    return dict(
        work=kind,
        amounts=amounts,
        seconds=[Times.summary(times[str(amount)]) for amount in amounts],
        **fit_line(amounts, medians),
        seconds_each=[time / amount for time, amount in zip(medians, amounts)],
        least_peak_mib=least,
        most_peak_mib=most,
        memory_growth_mib=most - least,
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=3)
    for kind in WORK:
        parser.add_argument(
            f'--{kind.replace("_", "-")}', type=int, nargs='+', help='amounts of work'
        )
    parser.add_argument('--peak-of', choices=tuple(WORK))
    args = parser.parse_args()
    for kind, amounts in (SMALL_WORK if args.small else WORK).items():
        setattr(args, kind, getattr(args, kind) or amounts)
    device = prepare(args)
    MMLogger.get_current_instance().setLevel('WARNING')  # a report each evaluation
    if args.peak_of:
        (run,) = runs_of(args, device, args.peak_of).values()
        print_peak(run, device)
        return
    cases = [measure(args, device, kind) for kind in WORK]
    goals = [goal(f'R² of {case["work"]}', case['r2'], at_least=R2) for case in cases]
    growth = {case['work']: case['memory_growth_mib'] for case in cases}
    for kind in FLAT:
        what = f"growth of {kind}'s peak, MiB"
        goals.append(goal(what, growth[kind], at_most=GROWTH))
    report(args, cases=cases, goals=goals, memory_growth_mib=growth)


if __name__ == '__main__':
    run_tool(main)
