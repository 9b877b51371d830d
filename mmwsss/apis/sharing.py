"""Work on an artefact store shared by the processes of one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from mmengine.dist import (
    barrier,
    broadcast_object_list,
    get_rank,
    get_world_size,
    is_main_process,
)
from rich.console import Console
from rich.progress import track

from mmwsss.utils.artefact_store import ArtefactStore, shard

Item = TypeVar('Item')


def share_of_pending(store: ArtefactStore, keys: Sequence[str]) -> list[str]:
    """Return the keys that this process shall make.

    One process looks for all, so that what is missing is shared out evenly also
    where earlier runs have left more to one process than to another.
    """
    pending = [store.pending(keys) if is_main_process() else []]
    broadcast_object_list(pending)
    return shard(pending[0], get_rank(), get_world_size())


def finish_store(store: ArtefactStore, keys: Sequence[str]) -> str:
    """Wait for all processes, let one finish the store, and return its digest.

    Raises:
        ArtefactError: if the store does not hold just these artefacts, or one has
            changed since the store was finished.
    """
    barrier()
    if is_main_process():
        if store.is_finished():
            store.verify()
        else:
            store.finish(keys)
    barrier()
    return store.digest()


def with_progress(items: Iterable[Item], text: str, *, total: int) -> Iterator[Item]:
    """Yield the items, of which there are ``total``; show progress on a terminal."""
    console = Console(stderr=True)
    shown = is_main_process() and console.is_terminal and total > 0
    yield from track(items, text, total, console=console, disable=not shown)
