"""Features of a frozen network, computed once for many trainings."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner.amp import autocast
from torch import nn

from mmwsss.apis.seeds import (
    LOADER,
    TaggedImages,
    half_precision,
    loader_of,
)
from mmwsss.apis.sharing import finish_store, share_of_pending
from mmwsss.functional.feature_pairs import pair_features
from mmwsss.registry import MODELS
from mmwsss.structures.feature_record import FeatureCodec, FeatureRecord
from mmwsss.structures.seed_record import seed_identity
from mmwsss.utils.artefact_store import ArtefactStore
from mmwsss.utils.errors import CheckpointError, ConfigError
from mmwsss.utils.progress import track


def cache_features(
    config: Config, backbone: nn.Module, images: TaggedImages, folder: str | Path
) -> ArtefactStore[FeatureRecord]:
    """Store what a frozen backbone gives for images and mirror images.

    Complete and sound records of an earlier run stay, their images are not read.

    Args:
        config: Of a classifier; images are those of its ``seed_dataloader``, made by
            the pipeline there and normalized by its data preprocessor.
        backbone: Images (B, 3, H, W) to a tuple of maps, the last of which is stored;
            with its weights.
        images: Of ``load_tagged_images`` for the same config.
        folder: Where the records go.

    Returns:
        The finished store.

    Raises:
        ConfigError: if a part of the backbone is trained.
        CheckpointError: if a feature is not finite in half precision.
        WSSSError: if something else is missing, does not fit or cannot be written.
    """
    _check_frozen(backbone)
    preprocessor = MODELS.build(config.model.data_preprocessor)
    network = nn.ModuleList([preprocessor, backbone]).to(get_device()).eval()
    # the file of the weights counts by what is in it
    settings = dict(
        backbone={**config.model.backbone, 'pretrained': None},
        data_preprocessor=config.model.data_preprocessor,
        pipeline=config[LOADER].dataset.pipeline,
        fp16=half_precision(config),
    )
    identity = seed_identity(
        config=settings,
        weights=backbone.state_dict(),
        classes=images.classes,
        image_ids=images.ids,
    )
    store = ArtefactStore.create(folder, FeatureCodec(), identity)
    _fill(store, config, network, images)
    finish_store(store, images.ids)
    return store


def _check_frozen(backbone: nn.Module) -> None:
    trained = [name for name, p in backbone.named_parameters() if p.requires_grad]
    if trained:
        raise ConfigError(
            f'features are cached of a frozen backbone, and {trained[0]} is trained; '
            "set model.backbone.frozen=('',), as configs/cam/lite0_frozen_voc.py does"
        )


def _fill(
    store: ArtefactStore[FeatureRecord],
    config: Config,
    network: nn.ModuleList,
    images: TaggedImages,
) -> None:
    preprocessor, backbone = network
    pending = share_of_pending(store, images.ids)
    if not pending:
        return
    loader = loader_of(config, images, pending)
    names = iter(pending)
    for batch in track(loader, 'Features', total=len(loader)):
        packed = preprocessor(batch)
        inputs = packed['inputs']
        with torch.no_grad(), autocast(enabled=half_precision(config)):
            plain, mirrored = (
                backbone(view)[-1].float() for view in (inputs, inputs.flip(-1))
            )
        pairs = pair_features(plain, mirrored).half().cpu()
        # the shorter ones first: zip would draw a name too many from the last
        for sample, pair, name in zip(packed['data_samples'], pairs, names):
            if not bool(pair.isfinite().all()):
                raise CheckpointError(
                    f'the backbone gives features of {name} that half precision cannot '
                    'hold: check its weights'
                )
            store.write(name, FeatureRecord(pair.numpy(), sample.ori_shape))
