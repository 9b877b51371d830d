"""Online accumulation: localization maps that grow over the epochs of a training.

::

    growth.jsonl    a line for each accumulated epoch; the last one is current
    epoch_<n>/      the maps behind epoch n, a store of seed records, uint8

An epoch's maps go to a store of their own, made from the store before it and the
epoch's weights, both of which its identity names, and become current by their line
when all are there. A checkpoint names the store that belongs to it. So a run that is
resumed, from whichever checkpoint, takes up just the maps that the checkpoint had seen;
what an abandoned continuation made has another identity and is made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast, broadcast_object_list, is_main_process
from mmengine.logging import print_log
from torch import Tensor, nn

from mmwsss.apis.accumulated_store import (
    GENERATION,
    SETTINGS,
    generation,
    growth_of,
    open_generation,
    read_growth,
    write_growth,
)
from mmwsss.apis.launch import lasting_weights
from mmwsss.apis.seeds import load_tagged_images, predict_images, seed_origin
from mmwsss.apis.sharing import finish_store, share_of_pending
from mmwsss.functional.accumulation import accumulate
from mmwsss.models.classifiers.base import WSSSClassifier
from mmwsss.registry import ACCUMULATORS
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedCodec, SeedRecord
from mmwsss.utils.artefact_store import INDEX, MANIFEST, ArtefactStore
from mmwsss.utils.atomic import remove_file, write_error
from mmwsss.utils.digests import digest_json, digest_tensors
from mmwsss.utils.errors import ArtefactError, ConfigError, DataError


@ACCUMULATORS.register_module()
class MapAccumulator:
    """Keep, of each tagged image, the pixel-wise maximum of its maps over epochs.

    The maps are those of the un-augmented images of ``seed_dataloader`` (RCA's
    baseline OAA; the rule is ``functional.accumulation``). Any number of processes
    gives the same bytes from the same weights.

    Args:
        config: Of the training, with a ``seed_dataloader``.
        folder: Of the maps.
        schedule: What decides which epochs are accumulated; another schedule's maps
            are refused.
        gate: Least probability in [0, 1] of a class whose map is taken.
        keep: Checkpoints whose maps are kept.

    Raises:
        ConfigError: if the images are not tagged.
        DataError: if the data set cannot be read.
    """

    def __init__(
        self,
        *,
        config: Config,
        folder: str | Path,
        schedule: Mapping[str, int],
        gate: float,
        keep: int,
    ) -> None:
        self.config, self.folder = config, Path(folder)
        self.images = load_tagged_images(config)
        if None in self.images.tags or config.model.get('tags') == 'predicted':
            raise ConfigError(
                'maps are accumulated for given tags: set seed_dataloader.dataset.'
                "tag_file, and take model.tags='predicted' off"
            )
        self.schedule = dict(schedule)
        self.gate, self.keep = gate, keep
        self._kept: list[str] = []
        self._store: ArtefactStore[SeedRecord] | None = None

    def restore(self, kept: Sequence[str]) -> None:
        """Take up the maps of a checkpoint; what is later is no longer current.

        Args:
            kept: ``state`` as the checkpoint has it, empty for a new training.

        Raises:
            ArtefactError: if the folder has not these maps, or has those of another
                run, or cannot be written.
        """
        for manifest in self.folder.glob(f'{GENERATION}*/{MANIFEST}'):
            ArtefactStore.open(manifest.parent, SeedCodec(), self._run_identity())
        lines = read_growth(self.folder)
        current = [line for line in lines if kept and line['store'] == kept[-1]]
        if kept and not current:
            raise ArtefactError(
                f'{self.folder} does not hold the accumulated maps that belong to the '
                'checkpoint: put its folder back, resume from a later checkpoint, or '
                'train anew in another work directory'
            )
        if current:
            self._store = open_generation(self.folder, current[0])
        self._kept = list(kept)
        barrier()
        if is_main_process():
            end = lines.index(current[0]) + 1 if current else 0
            write_growth(self.folder, lines[:end])
        barrier()

    def state(self) -> list[str]:
        """Return the stores of the last checkpoints, the one about to be written too.

        Each counts once, the current one is the last; empty before the first epoch
        that is accumulated. The process that writes checkpoints calls it.
        """
        if self._store is not None:
            digest = self._store.digest()
            before = [store for store in self._kept if store != digest]
            self._kept = [*before, digest][-self.keep :]
        return list(self._kept)

    def accumulate(self, model: WSSSClassifier, *, epoch: int, last: bool) -> None:
        """Raise all images' maps by those of the model.

        Processes get the first one's buffers, which are those of the checkpoint.

        Args:
            model: The classifier itself, without its wrapper.
            epoch: How many epochs it was trained for.
            last: Whether the training ends with it.

        Raises:
            WSSSError: if an image cannot be read, maps are not finite, the folder
                has maps of another run, or cannot be written.
        """
        for buffer in model.buffers():
            broadcast(buffer.data)
        store = self._begin(epoch, self._identity(model))
        pending = share_of_pending(store, self.images.ids)
        source = f'the model behind epoch {epoch}'
        with evaluating(model):
            predictions = predict_images(
                self.config, model, self.images, pending, source=source, task='Maps'
            )
            for name, sample in predictions:
                store.write(name, self._raised(name, sample, last=last))
        finish_store(store, self.images.ids)
        self._store = store
        if is_main_process():
            self._note(dict(epoch=epoch, last=last, store=store.digest()))
        barrier()

    def _run_identity(self) -> dict[str, str]:
        """Return what all epochs' maps of a run are made from, as digests."""
        identity = seed_origin(self.config, {}, self.images)
        del identity['checkpoint']
        seed = self.config.get('randomness', {}).get('seed')
        settings = dict(schedule=self.schedule, gate=self.gate, seed=seed)
        return {**identity, SETTINGS: digest_json(settings)}

    def _identity(self, model: WSSSClassifier) -> dict[str, str]:
        identity = dict(
            self._run_identity(),
            checkpoint=digest_tensors(lasting_weights(model)),
            previous=self._store.digest() if self._store else 'none',
        )
        shared = [identity]
        broadcast_object_list(shared)
        return shared[0]

    def _begin(self, epoch: int, identity: dict[str, str]) -> ArtefactStore[SeedRecord]:
        """Start the store of an epoch, or go on with it if it is the very one."""
        folder = generation(self.folder, epoch)
        if is_main_process() and (folder / MANIFEST).exists():
            found = ArtefactStore.open(folder, SeedCodec())
            if found.identity != identity:
                _remove(found)
        barrier()
        return ArtefactStore.create(folder, SeedCodec(), identity)

    def _raised(self, name: str, sample: WSSSDataSample, *, last: bool) -> SeedRecord:
        """Return the record of an image with the maps of a prediction taken in."""
        found = SeedRecord.from_sample(sample)
        stored, exists = self._stored(name, found)
        maps, exists = accumulate(
            stored,
            exists,
            sample.localization.data.float().cpu(),
            sample.pred_score.float().cpu()[list(found.classes)],
            gate=self.gate,
            last=last,
        )
        classes = torch.tensor(found.classes)[exists].tolist()
        return replace(found, maps=maps[exists].numpy(), classes=tuple(classes))

    def _stored(self, name: str, found: SeedRecord) -> tuple[Tensor, Tensor]:
        if self._store is None:
            maps = torch.zeros(found.maps.shape, dtype=torch.uint8)
            return maps, torch.zeros(len(maps), dtype=torch.bool)
        record = self._store.read(name)
        if record.geometry() != found.geometry():
            raise DataError(
                f'{name} was {record.ori_shape} pixels (height, width) when its maps '
                f'were accumulated and is {found.ori_shape}: restore the image'
            )
        exists = [index in record.classes for index in found.classes]
        filled = record.with_classes(found.classes)
        return torch.from_numpy(filled.maps), torch.tensor(exists)

    def _note(self, line: dict[str, Any]) -> None:
        """Make a store current, and remove those that no kept checkpoint needs."""
        assert self._store is not None
        line.update(growth_of(self._store, self.images))
        lines = [*read_growth(self.folder), line]
        write_growth(self.folder, lines)
        print_log(f'accumulated maps: {_in_words(line)}', logger='current')
        for old in lines[:-1]:
            folder = generation(self.folder, old['epoch'])
            if old['store'] not in self._kept and (folder / MANIFEST).exists():
                _remove(ArtefactStore.open(folder, SeedCodec()))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode; behind the block all is as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # a data loader draws a number when it starts
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _remove(store: ArtefactStore[SeedRecord]) -> None:
    """Remove a store, its manifest last: what is left of it is still known as one."""
    remove_file(store.root / INDEX)
    names = store.keys()
    for path in (*map(store.path, names), *store.shards.files()):
        remove_file(path)
    try:
        shutil.rmtree(store.root)
    except OSError as error:
        raise write_error(store.root, error) from error


def _in_words(line: Mapping[str, Any]) -> str:
    return (
        f'{line["maps"]} of {line["tags"]} in {line["images"]} images, '
        f'{line["covered"]:.1%} above one half'
    )
