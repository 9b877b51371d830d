"""The CAM baseline: a CNN whose class maps are its localization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmwsss.functional.localization import max_normalize
from mmwsss.functional.vectors import widen
from mmwsss.models.classifiers.base import ChooseTags, Localization, WSSSClassifier
from mmwsss.models.classifiers.inference_views import (
    InferenceViews,
    Size,
    restore_view,
)
from mmwsss.models.classifiers.similarity_spread import SimilaritySpread
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample

SpreadMaps = Callable[[Tensor, Tensor], Tensor]
"""Maps (B, C, h, w) and their images (B, 3, H, W) to other maps (B, C, h', w')."""


@MODELS.register_module()
class CAMClassifier(WSSSClassifier):
    """Class activation maps with a convolutional head (Zhang et al., CVPR 2018).

    Class scores are the spatial mean of the class maps; a class's localization is its
    map, relu'd, summed over test views and scales, divided by its maximum.

    Args:
        num_classes: Foreground classes.
        backbone: Config of a CNN; images to a tuple of feature maps, the last counts.
        head: Config of a ``CAMHead``; ``num_classes`` need not be repeated.
        localization: Arguments of ``InferenceViews``.
        similarity: Arguments of ``SimilaritySpread``, which then widens the maps of
            each view; None leaves them.
        data_preprocessor: Config of the preprocessor.
        init_cfg: mmengine's initialization.
        **settings: Passed whole to ``WSSSClassifier``.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: dict,
        head: dict,
        localization: dict | None = None,
        similarity: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            num_classes,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            **settings,
        )
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head, default_args=dict(num_classes=num_classes))
        self.inference_views = InferenceViews(**(localization or {}))
        self.similarity = None if similarity is None else SimilaritySpread(**similarity)

    def class_maps(self, inputs: Tensor) -> Tensor:
        """Return raw class maps (B, C, h, w) of images (B, 3, H, W)."""
        return self.maps_of(self.backbone(inputs)[-1])

    def maps_of(self, features: Tensor) -> Tensor:
        """Return raw class maps (B, C, h, w) of the backbone's features."""
        return self.head(features)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return class logits (B, C) of images (B, 3, H, W)."""
        return self.class_maps(inputs).mean((-2, -1))

    def loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_cls``."""
        return dict(
            loss_cls=self.classification_loss(self.logits(inputs), data_samples)
        )

    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Add up the class maps of all views and scales."""
        return self.localize_spread(inputs, choose_tags)

    @torch.no_grad()
    def localize_spread(
        self,
        inputs: Tensor,
        choose_tags: ChooseTags,
        *,
        spread: SpreadMaps | None = None,
        grid: Size | None = None,
        stride: int = 1,
    ) -> Localization:
        """Add up the class maps of all views and scales, each spread before.

        Args:
            inputs: (B, 3, H, W), normalized.
            choose_tags: Picks each image's classes from the logits of the first view.
            spread: What is done to each view's maps, >= 0; None leaves them.
            grid: (h, w) on which maps are added; None takes the first view's.
            stride: Pixels of which scaled sides are multiples.
        """
        logits: Tensor | None = None
        total = inputs.new_zeros(())
        for names, batch in self.inference_views.batches(inputs, stride=stride):
            features = self.backbone(batch)[-1]
            maps = self.maps_of(features)
            if logits is None:
                logits = maps[: len(inputs)].mean((-2, -1))
            positive = widen(maps).relu()
            if self.similarity is not None:
                positive = self.similarity(positive, features)
            if spread is not None:
                positive = spread(positive, batch)
            grid = grid or (positive.shape[-2], positive.shape[-1])
            for name, part in zip(names, positive.chunk(len(names))):
                total = total + restore_view(part, name, grid)
        assert logits is not None  # there is a view
        picked = [maps[classes] for maps, classes in zip(total, choose_tags(logits))]
        return Localization(logits, [max_normalize(maps) for maps in picked])
