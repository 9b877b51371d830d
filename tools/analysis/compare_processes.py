"""Compare one training step of several processes with one process and their batches.

python tools/analysis/compare_processes.py configs/acr/vit_hybrid_voc.py --processes 2
Over gloo on the CPU. Prints the largest differences of losses and averaged gradients,
absolute and relative to the largest absolute value of the tensor. With --double it
computes in float64, which tells rounding from a difference of method.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor, distributed, multiprocessing

from mmwsss.apis.launch import add_cfg_options, config_with, run_tool
from mmwsss.registry import MODELS

Step = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Losses and gradients by name."""


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a classifier')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--double', action='store_true', help='compute in float64')
    add_cfg_options(parser)
    return parser.parse_args()


def step(config: Config, *, batch_size: int, wrap: bool) -> Step:
    """Run one step of this process and return losses and gradients."""
    init_default_scope(config.default_scope)
    seed = config.randomness.seed
    MessageHub.get_instance('compare').update_info_dict(dict(seed=seed, iter=0))
    torch.manual_seed(seed)
    model = MODELS.build(config.model).to(config.dtype)
    loader = dict(config.train_dataloader, batch_size=batch_size, num_workers=0)
    loader |= dict(persistent_workers=False)
    data = next(iter(Runner.build_dataloader(loader, seed=seed)))
    data = model.data_preprocessor(data, training=True)
    data['inputs'] = data['inputs'].to(config.dtype)
    runs = MMDistributedDataParallel(model, device_ids=None) if wrap else model
    losses = runs(**data, mode='loss')
    sum(losses.values()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return {name: loss.detach() for name, loss in losses.items()}, gradients


def worker(rank: int, config: Config, processes: int, folder: str) -> None:
    """Run one of several processes; the first saves what they agree on."""
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    store = distributed.FileStore(f'{folder}/store', processes)
    distributed.init_process_group('gloo', store=store, rank=rank, world_size=processes)
    batch_size = config.train_dataloader.batch_size
    losses, gradients = step(config, batch_size=batch_size, wrap=True)
    for loss in losses.values():
        distributed.all_reduce(loss)
        loss /= processes
    if get_rank() == 0:
        torch.save((losses, gradients), f'{folder}/several.pt')
    distributed.destroy_process_group()


def report(kind: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Print the largest absolute and relative difference."""
    absolute = {n: (found[n] - value).abs().max() for n, value in expected.items()}
    relative = {n: absolute[n] / value.abs().max() for n, value in expected.items()}
    worst = max(relative, key=lambda name: relative[name])
    print(
        f'{kind}: {len(expected)} compared, at most {max(absolute.values()):.1e} '
        f'absolute, {relative[worst]:.1e} relative ({worst})'
    )


def main() -> None:
    """Compare."""
    args = parse_arguments()
    config = config_with(args.config, args.cfg_options)
    config.dtype = torch.float64 if args.double else torch.float32
    with TemporaryDirectory() as folder:
        multiprocessing.spawn(
            worker, (config, args.processes, folder), nprocs=args.processes
        )
        several: Step = torch.load(Path(folder) / 'several.pt')
    joint = config.train_dataloader.batch_size * args.processes
    alone = step(config, batch_size=joint, wrap=False)
    for kind, found, expected in zip(('losses', 'gradients'), several, alone):
        report(kind, found, expected)


if __name__ == '__main__':
    run_tool(main)
