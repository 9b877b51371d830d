"""Work on an artefact store shared by the processes of one run."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.dist import (
    barrier,
    broadcast_object_list,
    get_rank,
    get_world_size,
    is_main_process,
)

from mmwsss.utils.artefact_store import ArtefactStore, shard


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
