"""RCA: regions of all images, remembered, contrasted and aggregated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from mmwsss.functional.regions import masked_average, region_masks
from mmwsss.models.aggregators import PrototypeAggregator
from mmwsss.models.classifiers.cam import CAMClassifier
from mmwsss.models.heads.region_projection import RegionProjection
from mmwsss.models.memories.region_batch import RegionBatch
from mmwsss.models.memories.region_memory import RegionMemory
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.observation import MemoryState
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import (
    StepDraws,
    Use,
    counted_generator,
    training_epoch,
    training_step,
)

SPACES = ('projected', 'raw', 'split')
REGION_SCORES = ('softmax', 'raw')


@MODELS.register_module()
class RCAClassifier(CAMClassifier):
    """Regional semantic contrast and aggregation (Zhou et al., CVPR 2022).

    ``L = L_cls(O) + coarse_weight L_cls(O0) + L_contrast``: coarse maps ``O0`` of the
    features F give region masks; region features fill a memory bank, are contrasted
    with it (section 3.2) and its prototypes refine F, from which the maps O come
    (section 3.3). Without ``contrast`` and ``aggregation`` it is CAM with two heads.

    Args:
        num_classes: Foreground classes.
        channels: D, of the backbone's last feature map.
        backbone: Config of a CNN; images to a tuple of feature maps, the last counts.
        head: Config of the ``CAMHead`` of O; channels and classes are filled in.
        coarse_head: The same of O0; None is one like ``head``.
        memory: Config of a ``RegionMemory``; written to by ``RegionMemoryHook``.
        contrast: Config of a ``RegionContrastLoss``; None is none.
        aggregation: Config of a ``PrototypeAggregator``; None is none. Refreshed by
            ``PrototypeRefreshHook``.
        space: Where regions live: all in one learned projection of F (``projected``),
            all in F (``raw``, the paper's text), or queries of the contrast in the
            projection and the bank in F (``split``, the authors' release).
        region_scores: What a region mask is cut from: the ``softmax`` of O0 over the
            classes (the release) or O0 itself (``raw``).
        coarse_weight: Weight of the classification loss of O0.
        contrast_from: Epoch, from 0, in which the contrast begins.
        aggregate_from: Epoch, from 0, by which prototypes must have been refreshed.
        data_preprocessor: Config of the preprocessor.
        init_cfg: mmengine's initialization.
        **settings: Passed whole to ``CAMClassifier``.

    Raises:
        ConfigError: if a name is unknown or contrast or aggregation lack the memory.
    """

    joint_losses = ('loss_contrast',)

    def __init__(
        self,
        num_classes: int,
        *,
        channels: int,
        backbone: dict,
        head: dict,
        coarse_head: dict | None = None,
        memory: dict | None = None,
        contrast: dict | None = None,
        aggregation: dict | None = None,
        space: str = 'projected',
        region_scores: str = 'softmax',
        coarse_weight: float = 0.4,
        contrast_from: int = 2,
        aggregate_from: int = 1,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **settings: Any,
    ) -> None:
        _check_choices(space, region_scores)
        if memory is None and (contrast or aggregation):
            raise ConfigError(
                'contrast and aggregation compare with the memory bank: set '
                "model.memory=dict(type='RegionMemory')"
            )
        sizes = dict(num_classes=num_classes, channels=channels)
        aggregator: PrototypeAggregator | None = _build(aggregation, sizes)
        width = aggregator.out_channels(channels) if aggregator else channels
        super().__init__(
            num_classes,
            backbone=backbone,
            head=dict(head, in_channels=width),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            **settings,
        )
        self.coarse_head = _build(
            dict(coarse_head or head, in_channels=channels),
            dict(num_classes=num_classes),
        )
        with_projection = memory is not None and space != 'raw'
        self.projection = RegionProjection(channels) if with_projection else None
        self.memory: RegionMemory | None = _build(memory, sizes)
        self.contrast = _build(contrast, {})
        self.aggregation: PrototypeAggregator | None = aggregator
        self.space, self.region_scores = space, region_scores
        self.coarse_weight = coarse_weight
        self.contrast_from, self.aggregate_from = contrast_from, aggregate_from

    def maps_of(self, features: Tensor) -> Tensor:
        """Return raw class maps O (B, C, h, w), from stored prototypes (eq. 10)."""
        if self.aggregation is None:
            return self.head(features)
        return self.head(self.aggregation(features, self._embed(features).banked))

    def loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        """Return both classification losses and, once it has begun, the contrast."""
        features = self.backbone(inputs)[-1]
        coarse = self.coarse_head(features)
        if self.memory is None:
            return self._classify(self.head(features), coarse, data_samples)
        embedded = self._embed(features)
        if self.aggregation is not None:
            self._check_refreshed(self.aggregation)
            features = self.aggregation(features, embedded.banked)
        maps = self.head(features)
        losses = self._classify(maps, coarse, data_samples)
        losses['loss_cls'] = losses['loss_cls'] + self._touch_projection()
        masks = self._masks(coarse.detach(), data_samples)
        self._stage(self.memory, embedded.banked, masks, maps, data_samples)
        if self.contrast is not None and training_epoch() >= self.contrast_from:
            queries = _pool(embedded.query, masks, data_samples)
            num_images = _count_everywhere(data_samples)
            losses |= self.contrast(queries, self.memory, num_images=num_images)
        return losses

    def update_memory(self) -> None:
        """Write the regions that all processes have staged; every one must call it."""
        self._require_memory('RegionMemoryHook').update()

    def refresh_prototypes(self) -> None:
        """Cluster the bank into prototypes; every process must call it.

        Raises:
            ConfigError: if the model has no aggregation.
        """
        memory = self._require_memory('PrototypeRefreshHook')
        if self.aggregation is None:
            raise ConfigError(
                'PrototypeRefreshHook needs prototypes: set model.aggregation='
                "dict(type='PrototypeAggregator'), or take the hook off custom_hooks"
            )
        key = Use.CLUSTERS, training_step()[0], int(self.aggregation.refreshes)
        self.aggregation.refresh(
            memory.features, memory.valid, generator=counted_generator(*key)
        )

    def memory_state(self) -> MemoryState | None:
        """Return what bank and prototypes hold; None without a bank."""
        if self.memory is None:
            return None
        bank = self.memory.features, self.memory.valid
        if self.aggregation is None:
            return MemoryState(*bank)
        return MemoryState(*bank, self.aggregation.prototypes, self.aggregation.ready)

    def _embed(self, features: Tensor) -> Embedded:
        if self.projection is None:
            return Embedded(features, features)
        projected = self.projection(features)
        return Embedded(projected, features if self.space == 'split' else projected)

    def _classify(
        self, maps: Tensor, coarse: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        fine, rough = (
            self.classification_loss(m.mean((-2, -1)), data_samples)
            for m in (maps, coarse)
        )
        return dict(loss_cls=fine, loss_cls_coarse=self.coarse_weight * rough)

    def _masks(self, coarse: Tensor, data_samples: list[WSSSDataSample]) -> Tensor:
        """Region masks (B, C, h, w) of the tags, empty for other classes.

        Samples that a sampler repeats to fill up a batch have none.
        """
        tags = torch.stack([self._multi_hot(sample) for sample in data_samples]).bool()
        own = [not sample.get('padding', False) for sample in data_samples]
        tags &= torch.tensor(own, device=tags.device)[:, None]
        soft = self.region_scores == 'softmax'
        masks = region_masks(coarse.float().softmax(1) if soft else coarse)
        return masks & tags.to(masks.device)[..., None, None]

    @torch.no_grad()
    def _stage(
        self,
        memory: RegionMemory,
        features: Tensor,
        masks: Tensor,
        maps: Tensor,
        data_samples: list[WSSSDataSample],
    ) -> None:
        regions = _pool(features, masks, data_samples)
        scores = maps.float().mean((-2, -1)).sigmoid()
        images = regions.positions // get_world_size()
        memory.stage(regions, scores[images, regions.classes])

    def _touch_projection(self) -> Tensor | float:
        """Return 0 that depends on a projection which no loss may need yet."""
        if self.projection is None:
            return 0.0
        return 0.0 * sum(p.sum() for p in self.projection.parameters())

    def _check_refreshed(self, aggregation: nn.Module) -> None:
        if training_epoch() >= self.aggregate_from and not aggregation.refreshes:
            raise ConfigError(
                f'epoch {training_epoch()} and no prototypes were ever made: add '
                "dict(type='PrototypeRefreshHook') to custom_hooks, or begin later "
                'with model.aggregate_from'
            )

    def _require_memory(self, hook: str) -> RegionMemory:
        if self.memory is None:
            raise ConfigError(
                f"{hook} needs a memory bank: set model.memory=dict(type='RegionMemory'"
                '), or take the hook off custom_hooks'
            )
        return self.memory


class Embedded(NamedTuple):
    """The two maps (B, D, h, w) that regions are pooled from."""

    query: Tensor
    """Of the contrast."""
    banked: Tensor
    """Of the bank, and compared with its prototypes."""


def _pool(
    features: Tensor, masks: Tensor, data_samples: Sequence[WSSSDataSample]
) -> RegionBatch:
    """Average features over each mask (B, C, h, w) that is not empty (eq. 2)."""
    means, found = masked_average(features, masks)
    samples = torch.tensor(StepDraws.of(data_samples).samples)
    return RegionBatch.of_images(means, found, samples)


def _count_everywhere(data_samples: Sequence[WSSSDataSample]) -> int:
    """Count the images of all processes, each once where a sampler repeats some."""
    count = torch.tensor(sum(not s.get('padding', False) for s in data_samples))
    all_reduce(count)
    return int(count)


def _build(config: dict | None, defaults: dict) -> Any:
    return None if config is None else MODELS.build(config, default_args=defaults)


def _check_choices(space: str, region_scores: str) -> None:
    if space not in SPACES:
        raise ConfigError(f'space: expected one of {SPACES}, got {space!r}')
    if region_scores not in REGION_SCORES:
        raise ConfigError(
            f'region_scores: expected one of {REGION_SCORES}, got {region_scores!r}'
        )
