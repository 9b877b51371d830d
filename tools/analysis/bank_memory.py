"""Measure what RCA's memory bank takes, over its size.

python tools/analysis/bank_memory.py
python tools/analysis/bank_memory.py --classes 80 --channels 4096 --device cuda
For each number of slots: the bank's buffers, which every process keeps and every
checkpoint holds; and how far memory rises above them in the contrast of one batch,
gradients included, and in finding prototypes. On a CPU each figure is of a process of
its own, whose peak the kernel knows; on CUDA of its allocator.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmwsss.apis.launch import run_tool
from mmwsss.functional.clustering import kmeans
from mmwsss.functional.contrast import info_nce
from mmwsss.models.memories import RegionMemory
from mmwsss.utils.atomic import atomic_write_text
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.progress import track

MEBIBYTE = 1 << 20
SLOTS = (50, 100, 200, 500, 1000, 2000)
REGIONS = 12
"""Of a batch of 8 images with 1.5 tags each, as VOC's."""
PROTOTYPES = 10
HEAD = ('slots', 'buffers, MiB', 'contrast, MiB', 'prototypes, MiB')

Work = Callable[[RegionMemory], object]


def filled_bank(classes: int, slots: int, channels: int) -> RegionMemory:
    """Return a bank whose slots are all written."""
    bank = RegionMemory(classes, channels, num_slots=slots)
    with torch.no_grad():
        bank.features.normal_(generator=torch.Generator().manual_seed(0))
        bank.count.fill_(slots)
    return bank


def buffer_bytes(bank: RegionMemory) -> int:
    """Return the bytes of a bank's buffers."""
    return sum(b.numel() * b.element_size() for b in bank.buffers())


def contrast(bank: RegionMemory) -> Tensor:
    """Contrast the regions of a batch with the bank and take the gradient."""
    classes, _, channels = bank.features.shape
    queries = torch.ones(REGIONS, channels, device=bank.features.device)
    queries.requires_grad_()
    own = torch.arange(REGIONS, device=queries.device) % classes
    losses = info_nce(queries, own, bank.features, bank.valid)
    (gradient,) = torch.autograd.grad(losses.mean(), queries)
    return gradient


def prototypes(bank: RegionMemory) -> Tensor:
    """Cluster the bank, as PrototypeRefreshHook has it done each epoch."""
    generator = torch.Generator().manual_seed(0)
    rows, valid = bank.features, bank.valid
    return kmeans(rows, valid, num_clusters=PROTOTYPES, generator=generator).centres


WORKS: dict[str, Work] = dict(contrast=contrast, prototypes=prototypes)


def resident(peak: bool) -> int:
    """Return the bytes of this process in memory, now or at most so far."""
    name = 'VmHWM' if peak else 'VmRSS'
    lines = Path('/proc/self/status').read_text('ascii').splitlines()
    line = next(line for line in lines if line.startswith(name))
    return int(line.split()[1]) * 1024


def rise(work: str, shape: Sequence[int], device: str) -> int:
    """Return by how many bytes a piece of work rises above a filled bank."""
    bank = filled_bank(*shape).to(device)
    if device == 'cuda':
        gc.collect()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        WORKS[work](bank)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    # what the first call of all loads is not the bank's
    WORKS[work](filled_bank(2, PROTOTYPES, 2))
    # the kernel's peak is of the process's life: start again from what there is
    Path('/proc/self/clear_refs').write_text('5', 'ascii')
    before = resident(peak=False)
    WORKS[work](bank)
    return resident(peak=True) - before


def measure(shape: Sequence[int], device: str) -> dict[str, float]:
    """Return the figures of a bank (classes, slots, channels), in MiB."""
    bank = filled_bank(*shape)
    found = dict(slots=shape[1], buffers=buffer_bytes(bank) / MEBIBYTE)
    for work in WORKS:
        if device == 'cuda':
            found[work] = rise(work, shape, device) / MEBIBYTE
            continue
        # a process of its own: memory that is freed does not always go back
        context = multiprocessing.get_context('fork')
        with context.Pool(1) as pool:
            found[work] = pool.apply(rise, (work, shape, device)) / MEBIBYTE
    return found


def table(rows: Sequence[Mapping[str, float]]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [HEAD, ['---:'] * len(HEAD)]
    for row in rows:
        lines.append([f'{row["slots"]:,}', *(f'{row[k]:.1f}' for k in list(row)[1:])])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--classes', type=int, default=20, help="VOC's by default")
    parser.add_argument('--channels', type=int, default=512, help="VGG16's by default")
    parser.add_argument('--slots', type=int, nargs='+', default=list(SLOTS))
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--json', type=Path, help='file for the figures')
    return parser.parse_args()


def main() -> None:
    """Measure."""
    args = parse_arguments()
    if min(args.slots) < PROTOTYPES:
        raise ConfigError(f'--slots: {PROTOTYPES} or more, got {min(args.slots)}')
    torch.set_num_threads(1)  # processes that fork must have started no threads
    shapes = [(args.classes, slots, args.channels) for slots in args.slots]
    rows = [measure(shape, args.device) for shape in track(shapes, 'Banks')]
    print(
        f'{args.classes} classes, {args.channels} channels, {REGIONS} regions a batch, '
        f'{PROTOTYPES} prototypes a class, on {args.device}\n\n{table(rows)}'
    )
    if args.json:
        text = json.dumps(
            dict(settings=vars(args) | {'json': None}, rows=rows), indent=1
        )
        atomic_write_text(args.json, text + '\n')


if __name__ == '__main__':
    run_tool(main)
