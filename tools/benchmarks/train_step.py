"""A training step of ACR: the product, the plain equations, and timm's own step.

python tools/benchmarks/train_step.py --json train_step.json
Forward and backward passes of image and mirror image, and the optimizer's step. The
plain reading runs both views one after the other with every head's attention kept;
timm's own step has no consistency losses. ``lean`` is the product with
``backbone.with_cp=True``. Peaks are those of a fresh process each: its resident memory
on a CPU, CUDA's allocator on a GPU; on a CPU ``floor`` is what weights, gradients,
momentum and the libraries take of them.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import torch
import torch.nn.functional as F
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
from models import acr, images, multi_hot, plain_acr, samples, stock_timm, tags
from torch import Tensor

from mmwsss.apis.launch import run_tool

WEIGHT = 100.0
PER_IMAGE = 2
SPEED = {'cpu': {'fp32': 1.1, 'bf16': 1.8}, 'cuda': {'fp32': 2.0, 'bf16': 2.0}}
MEMORY = {'cpu': 0.5, 'cuda': 0.4}
PEAKS = ('product', 'lean', 'plain', 'floor')

Losses = dict[str, Callable[[], Tensor]]


class Setup:
    """Models, inputs and losses of the three sides.

    Args:
        args: The command line.
        device: Where it runs.
        batch: Images of a step.
        with_cp: Whether the product recomputes blocks and stem.
    """

    def __init__(
        self, args: Namespace, device: torch.device, batch: int, with_cp: bool = False
    ) -> None:
        self.args, self.device = args, device
        self.images = images(batch, small=args.small, device=device)
        self.tags = tags(batch, PER_IMAGE, device=device)
        self.model = acr(small=args.small, device=device, with_cp=with_cp).train()

    def product(self) -> Tensor:
        """Return the product's loss."""
        with precision(self.args):
            return sum(self.model.loss(self.images, samples(self.tags)).values())

    def plain(self) -> Tensor:
        """Return the plain reading's loss."""
        with precision(self.args):
            targets = multi_hot(self.tags)
            return plain_acr(self.model).loss(self.images, targets, weight=WEIGHT)

    def stock(self) -> Callable[[], Tensor]:
        """Return the loss of timm's own model on both views."""
        model = stock_timm(small=self.args.small, device=self.device).train()
        both = torch.cat([self.images, self.images.flip(-1)])
        targets = multi_hot(self.tags * 2)

        def loss() -> Tensor:
            with precision(self.args):
                return F.multilabel_soft_margin_loss(model(both), targets)

        return self.step(loss, list(model.parameters()))

    def step(
        self, loss: Callable[[], Tensor], weights: list[Tensor] | None = None
    ) -> Callable[[], object]:
        """Return a step: gradients and the optimizer's update."""
        weights = weights or [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(weights, lr=1e-6, momentum=0.9, weight_decay=5e-4)

        def run() -> None:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

        return run

    def difference(self) -> float:
        """Return the largest relative difference of a block's gradients."""
        blocks = self.model.backbone.vit.blocks
        weights = [block.attn.qkv.weight for block in blocks]
        pairs = zip(
            torch.autograd.grad(self.product(), weights),
            torch.autograd.grad(self.plain(), weights),
        )
        return max(relative_difference(*pair) for pair in pairs)


def measure(args: Namespace, device: torch.device, batch: int) -> dict:
    """Measure one batch size; peaks first, while this process holds little itself."""
    shared = ['--device', args.device, '--dtype', args.dtype, '--batch', str(batch)]
    shared += ['--small'] if args.small else []
    peaks = {side: peak_in_child(side, shared)['peak'] for side in PEAKS}
    setup = Setup(args, device, batch)
    deviation = setup.difference()
    lean = Setup(args, device, batch, with_cp=True)
    sides = dict(
        product=setup.step(setup.product),
        lean=lean.step(lean.product),
        plain=setup.step(setup.plain),
        stock=setup.stock(),
    )
    times = in_turns(sides, repeats=args.repeats, device=device)
    return dict(
        batch=batch,
        **{name: Times.summary(found) for name, found in times.items()},
        ratio=times['plain'].median / times['product'].median,
        lean_ratio=times['plain'].median / times['lean'].median,
        stock_ratio=times['product'].median / times['stock'].median,
        **{f'{side}_peak_mib': peak for side, peak in peaks.items()},
        peak_ratio=peaks['product'] / peaks['plain'],
        lean_peak_ratio=peaks['lean'] / peaks['plain'],
        max_relative_difference=deviation,
    )


def peaking(args: Namespace, device: torch.device) -> Callable[[], object]:
    """Return the step whose peak is asked for; of the floor, one without a pass."""
    setup = Setup(args, device, args.batch[0], with_cp=args.peak_of == 'lean')
    if args.peak_of == 'floor':
        weights = [p for p in setup.model.parameters() if p.requires_grad]
        return setup.step(lambda: sum(weight.sum() for weight in weights))
    return setup.step(setup.plain if args.peak_of == 'plain' else setup.product)


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=3)
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--peak-of', choices=PEAKS)
    args = parser.parse_args()
    device = prepare(args)
    if args.peak_of:
        print_peak(peaking(args, device), device)
        return
    cases = [measure(args, device, batch) for batch in args.batch]
    worst = dict(
        ratio=min(case['ratio'] for case in cases),
        peak_ratio=max(case['peak_ratio'] for case in cases),
        lean_peak_ratio=max(case['lean_peak_ratio'] for case in cases),
        max_relative_difference=max(c['max_relative_difference'] for c in cases),
    )
    speed, memory = SPEED[args.device][args.dtype], MEMORY[args.device]
    goals = [
        goal('plain over product', worst['ratio'], at_least=speed),
        goal('peak memory over plain', worst['peak_ratio'], at_most=memory),
        goal('the same, with_cp', worst['lean_peak_ratio'], at_most=memory),
    ]
    report(args, cases=cases, goals=goals, **worst)


if __name__ == '__main__':
    run_tool(main)
