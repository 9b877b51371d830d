"""What each classifier costs, laid out as table 3 of ACR: memory of training, speed.

python tools/benchmarks/efficiency.py --json efficiency.json
One image of random pixels with two tags at the training size of each config, weights
drawn, all losses on as late in a training, banks full. A training step is the config's
own: data preprocessor, losses, gradients, optimizer and bank. A seed is what
``tools/test.py`` makes of the image: test views, scales and refinement of the config.
``training_mib`` is the peak of a fresh process that trains: on a CPU its resident
memory, libraries included, on a GPU CUDA's allocator.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from measuring import (
    Times,
    in_turns,
    parser_of,
    peak_in_child,
    precision,
    prepare,
    print_peak,
    report,
)
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from models import fill_memory, samples

from mmwsss.apis.launch import run_tool
from mmwsss.registry import MODELS
from mmwsss.utils.packaged_files import find_config

CONFIGS = (
    'configs/cam/vgg16_voc.py',
    'configs/cam/lite0_voc.py',
    'configs/seam/resnet38_voc.py',
    'configs/acr/deit_small_voc.py',
    'configs/acr/vit_hybrid_voc.py',
    'configs/acr/hybrid_lite0_voc.py',
    'configs/rca/vgg16_voc.py',
    'configs/rca/resnet38_voc.py',
    'configs/rca/lite0_voc.py',
)
SMALL = (
    'configs/cam/embedded.py',
    'configs/acr/hybrid_embedded.py',
    'configs/rca/embedded.py',
)
PER_IMAGE = 2
LATE = 10**9
"""Iteration and epoch at which every loss has begun and every warm start has ended."""


class Setup:
    """A config's model and optimizer, and an image for them.

    Args:
        config: Path of the config.
        args: The command line.
        device: Where it runs.
    """

    def __init__(self, config: str, args: Namespace, device: torch.device) -> None:
        init_default_scope('mmwsss')
        hub = MessageHub.get_current_instance()
        hub.update_info_dict(dict(iter=LATE, max_iters=LATE, epoch=LATE))
        found = Config.fromfile(find_config(config))
        size = found.get('crop_size') or found.image_size
        self.args, self.size = args, tuple(size)
        self.model = MODELS.build(found.model).to(device)
        fill_memory(self.model)
        self.optimizer = build_optim_wrapper(self.model, found.optim_wrapper)
        generator = torch.Generator().manual_seed(1)
        shape = (3, *self.size)
        image = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        (sample,) = samples([torch.arange(PER_IMAGE, device=device)])
        sample.set_metainfo(dict(ori_shape=self.size, img_shape=self.size))
        self.batch = dict(inputs=[image], data_samples=[sample])

    def train(self) -> None:
        """Train for one iteration."""
        with precision(self.args):
            self.model.train().train_step(self.batch, self.optimizer)
        if hasattr(self.model, 'update_memory'):
            self.model.update_memory()

    def seed(self) -> None:
        """Make the image's maps."""
        with torch.no_grad(), precision(self.args):
            self.model.eval().test_step(self.batch)


def measure(config: str, args: Namespace, device: torch.device) -> dict[str, Any]:
    """Measure a config."""
    shared = ['--device', args.device, '--dtype', args.dtype]
    peak = peak_in_child(config, shared)['peak']
    setup = Setup(config, args, device)
    sides: dict[str, Callable[[], object]] = dict(train=setup.train, seed=setup.seed)
    times = in_turns(sides, repeats=args.repeats, device=device)
    trained = [p for p in setup.model.parameters() if p.requires_grad]
    return dict(
        config=config,
        size='x'.join(map(str, setup.size)),
        trained_parameters=sum(p.numel() for p in trained),
        training_mib=peak,
        **{name: Times.summary(found) for name, found in times.items()},
        trained_images_per_second=1 / times['train'].median,
        seeds_per_second=1 / times['seed'].median,
    )


def main() -> None:
    """Measure and report."""
    parser = parser_of(__doc__, repeats=3)
    parser.add_argument('--configs', nargs='+', help='configs of classifiers')
    parser.add_argument('--peak-of')
    args = parser.parse_args()
    device = prepare(args)
    if args.peak_of:
        print_peak(Setup(args.peak_of, args, device).train, device)
        return
    configs = args.configs or (SMALL if args.small else CONFIGS)
    report(args, cases=[measure(config, args, device) for config in configs])


if __name__ == '__main__':
    run_tool(main)
