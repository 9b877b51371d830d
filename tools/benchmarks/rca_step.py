"""A training step of RCA and a refresh of its prototypes against the plain equations.

python tools/benchmarks/rca_step.py --json rca_step.json
VGG16 at 368 pixels, two images, a full bank of 20 x 500 slots. ``ratio`` sets the plain
reading with 20 separate heads, the authors' network, against the product's default of
one head; ``equal_heads_ratio`` gives the plain reading that one head as well.
``share`` is what bank, contrast and aggregation take of the product's step, forwards
and backwards; ``network_ratio`` sets the step against the bare layers' passes and the
optimizer, which no implementation can do without. The refresh is set against
scikit-learn, class by class: the same way to start, number of starts, and end, when no
row changes its cluster.
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable

import torch
from measuring import (
    Times,
    goal,
    in_turns,
    parser_of,
    precision,
    prepare,
    relative_difference,
    report,
)
from mmengine.registry import init_default_scope
from models import CLASSES, fill_memory, samples, tags
from reference.rca import PlainRCA, Region, SeparateHeads
from sklearn.cluster import KMeans
from torch import Tensor, nn

from mmwsss.apis.launch import run_tool
from mmwsss.functional.aggregation import aggregate
from mmwsss.functional.clustering import kmeans
from mmwsss.functional.contrast import mixup_nce
from mmwsss.functional.regions import masked_average
from mmwsss.models.classifiers.rca import RCAClassifier
from mmwsss.models.memories.region_batch import RegionBatch

CHANNELS, SLOTS, PROTOTYPES, PER_IMAGE = 512, 500, 10, 2
RESTARTS = 4
COARSE_WEIGHT, CONTRAST_WEIGHT = 0.4, 0.01


def build(args: Namespace, device: torch.device) -> RCAClassifier:
    """Build RCA with a full bank and prototypes."""
    init_default_scope('mmwsss')
    slots = 20 if args.small else SLOTS
    model = RCAClassifier(
        CLASSES,
        channels=CHANNELS,
        backbone=dict(type='VGGStride8'),
        head=dict(type='CAMHead', channels=8 if args.small else CHANNELS),
        memory=dict(type='RegionMemory', num_slots=slots),
        contrast=dict(type='RegionContrastLoss', loss_weight=CONTRAST_WEIGHT),
        aggregation=dict(type='PrototypeAggregator', num_prototypes=PROTOTYPES),
        coarse_weight=COARSE_WEIGHT,
        contrast_from=0,
    )
    model.to(device)
    fill_memory(model)
    return model.train()


def partners_of(model: RCAClassifier, chosen: list[Tensor]) -> list[tuple[int, float]]:
    """Return the partners and shares that the product draws for these tags."""
    pairs = [(image, int(c)) for image, row in enumerate(chosen) for c in row]
    images, classes = torch.tensor(pairs).T
    regions = RegionBatch(torch.zeros(len(pairs), 1), classes, images, images)
    own = torch.ones(len(pairs), dtype=torch.bool)
    partners, omega = model.contrast._draw(regions, own)
    return list(zip(partners.tolist(), omega.tolist()))


class Setup:
    """The product and the plain reading on the same weights.

    Args:
        args: The command line.
        device: Where it runs.
    """

    def __init__(self, args: Namespace, device: torch.device) -> None:
        self.args, self.device = args, device
        side = 64 if args.small else 368
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(args.batch, 3, side, side, generator=generator)
        self.images, self.tags = (
            images.to(device),
            tags(args.batch, PER_IMAGE, device=device),
        )
        self.model = build(args, device)
        self.partners = partners_of(self.model, [row.cpu() for row in self.tags])
        width = self.model.aggregation.out_channels(CHANNELS)
        head_channels = 8 if args.small else CHANNELS
        self.separate = SeparateHeads(width, CLASSES, head_channels).to(device)

    def product(self) -> Tensor:
        """Return the product's loss."""
        with precision(self.args):
            losses = self.model.loss(self.images, samples(self.tags))
        return sum(losses.values())

    def plain(self, head: nn.Module) -> Plain:
        """Return the plain reading with a head."""
        return Plain(self, head)

    def step(
        self,
        loss: Callable[[], Tensor],
        write: Callable[[], object],
        head: nn.Module,
    ) -> Callable[[], None]:
        """Return a step: gradients, the optimizer's update, and the bank's."""
        model = self.model
        parts = (model.backbone, model.coarse_head, model.projection, head)
        weights = [p for part in parts for p in part.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(weights, lr=1e-9, momentum=0.9, nesterov=True)

        def run() -> None:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            write()

        return run

    def network(self) -> Tensor:
        """Return a loss of the bare layers: backbone, projection, both heads."""
        model = self.model
        with precision(self.args):
            features = model.backbone(self.images)[-1]
            joined = torch.cat([features, model.projection(features)], 1)
            return model.head(joined).mean() + model.coarse_head(features).mean()

    def parts(self) -> Callable[[], None]:
        """Return bank, contrast and aggregation alone, forwards and backwards."""
        model, memory = self.model, self.model.memory
        grid = self.images.shape[-1] // 8
        size = (len(self.images), CHANNELS, grid, grid)
        features = torch.randn(size, device=self.device, requires_grad=True)
        masks = torch.zeros(
            (len(self.images), CLASSES, grid, grid), dtype=torch.bool
        ).to(self.device)
        for image, classes in enumerate(self.tags):
            masks[image, classes, : grid // 2] = True
        index, omega = zip(*self.partners)
        share = torch.tensor(omega, device=self.device)
        numbers = torch.arange(len(self.images), device=self.device)

        def run() -> None:
            context = aggregate(
                features, model.aggregation.prototypes, model.aggregation.ready
            )
            means, found = masked_average(features, masks)
            regions = RegionBatch.of_images(means, found, numbers)
            rows, classes = regions.features, regions.classes
            losses = mixup_nce(
                rows,
                classes,
                rows[list(index)],
                classes[list(index)],
                share,
                memory.features,
                memory.valid,
            )
            (context.sum() + losses.sum()).backward()
            memory.stage(regions, torch.ones(len(classes), device=self.device))
            memory.update()

        return run


class Plain:
    """The plain reading, on a bank of its own.

    Args:
        setup: Where weights and inputs come from.
        head: Features and context to maps.
    """

    def __init__(self, setup: Setup, head: nn.Module) -> None:
        model = setup.model
        self.setup, self.pointer = setup, [0] * CLASSES
        self.regions: list[Region] = []
        self.rca = PlainRCA(
            lambda x: model.backbone(x)[-1],
            model.coarse_head,
            model.projection,
            head,
            bank=model.memory.features.clone(),
            prototypes=model.aggregation.prototypes,
        )

    def loss(self) -> Tensor:
        """Return the loss and keep the regions for the bank."""
        setup = self.setup
        with precision(setup.args):
            total, self.regions = self.rca.loss(
                setup.images,
                [row.tolist() for row in setup.tags],
                setup.partners,
                coarse_weight=COARSE_WEIGHT,
                contrast_weight=CONTRAST_WEIGHT,
            )
        return total

    def write(self) -> None:
        """Write the regions kept."""
        momentum = self.setup.model.memory.momentum
        self.rca.write(self.regions, self.pointer, momentum)


def measure_step(args: Namespace, device: torch.device) -> dict:
    """Measure the step."""
    setup = Setup(args, device)
    model = setup.model
    equal, separate = setup.plain(model.head), setup.plain(setup.separate)
    deviation = relative_difference(setup.product(), equal.loss())
    write = model.update_memory
    write()
    sides = dict(
        product=setup.step(setup.product, write, model.head),
        plain=setup.step(separate.loss, separate.write, setup.separate),
        equal_heads=setup.step(equal.loss, equal.write, model.head),
        network=setup.step(setup.network, lambda: None, model.head),
        parts=setup.parts(),
    )
    times = in_turns(sides, repeats=args.repeats, device=device)
    product = times['product'].median
    return dict(
        work='training step',
        batch=args.batch,
        **{name: Times.summary(found) for name, found in times.items()},
        ratio=times['plain'].median / product,
        equal_heads_ratio=times['equal_heads'].median / product,
        share=times['parts'].median / product,
        network_ratio=product / times['network'].median,
        max_relative_difference=deviation,
    )


def measure_refresh(args: Namespace, device: torch.device) -> dict:
    """Measure K-means of every class."""
    slots = 20 if args.small else SLOTS
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(CLASSES, PROTOTYPES, 1, CHANNELS, generator=generator)
    size = (CLASSES, PROTOTYPES, slots // PROTOTYPES, CHANNELS)
    noise = torch.randn(size, generator=generator)
    rows = (centres + noise).flatten(1, 2).to(device)
    valid = torch.ones(rows.shape[:2], dtype=torch.bool, device=device)
    arrays = rows.cpu().numpy()

    def product() -> Tensor:
        seeded = torch.Generator().manual_seed(0)
        return kmeans(
            rows, valid, num_clusters=PROTOTYPES, generator=seeded, restarts=RESTARTS
        ).inertia

    def plain() -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            means = KMeans(
                PROTOTYPES, n_init=RESTARTS, max_iter=100, tol=0.0, random_state=0
            )
            return torch.tensor([means.fit(array).inertia_ for array in arrays])

    inertia = product().sum().item() / plain().sum().item()
    again = torch.equal(product(), product())
    sides = dict(product=product, plain=plain)
    times = in_turns(sides, repeats=args.repeats, device=device)
    return dict(
        work='refresh of prototypes',
        classes=CLASSES,
        slots=slots,
        **{name: Times.summary(found) for name, found in times.items()},
        ratio=times['plain'].median / times['product'].median,
        inertia_ratio=inertia,
        same_bits_again=again,
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=3)
    parser.add_argument('--batch', type=int, default=2)
    args = parser.parse_args()
    device = prepare(args)
    step, refresh = measure_step(args, device), measure_refresh(args, device)
    on_gpu = args.device == 'cuda'
    goals = [
        goal('20 heads over product', step['ratio'], at_least=2 if on_gpu else 2.5),
        goal('equal heads over product', step['equal_heads_ratio'], at_least=1.3),
        goal('share of bank, contrast, aggregation', step['share'], at_most=0.1),
        goal(
            'scikit-learn over refresh',
            refresh['ratio'],
            at_least=10 if on_gpu else 1,
        ),
        goal("inertia over scikit-learn's", refresh['inertia_ratio'], at_most=1.01),
    ]
    keys = (
        'ratio',
        'equal_heads_ratio',
        'share',
        'network_ratio',
        'max_relative_difference',
    )
    figures = {key: step[key] for key in keys} | dict(
        refresh_ratio=refresh['ratio'], inertia_ratio=refresh['inertia_ratio']
    )
    report(args, cases=[step, refresh], goals=goals, **figures)


if __name__ == '__main__':
    run_tool(main)
