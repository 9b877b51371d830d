"""Runs a function in processes joined by gloo, for tests of collectives."""

import multiprocessing

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

IMPORTED_ONCE = ['mmengine.runner', 'mmwsss.apis.accumulation', 'mmwsss.engine.hooks']


def run_joined(function, folder, *args, number=2):
    """Return what ``function(rank, *args)`` of the test's module gives in each."""
    # the server imports once for all tests, and forks from where no thread runs
    multiprocessing.set_forkserver_preload(IMPORTED_ONCE)
    start_processes(
        _run,
        (number, str(folder), function, args),
        nprocs=number,
        start_method='forkserver',
    )
    return [torch.load(folder / f'{rank}.pt') for rank in range(number)]


def _run(rank, number, folder, function, args):
    torch.set_num_threads(1)
    store = dist.FileStore(f'{folder}/store', number)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=number)
    torch.save(function(rank, *args), f'{folder}/{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()
