"""The CAM baseline: a CNN whose class maps are its localization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmwsss.functional.localization import max_normalize
from mmwsss.models.classifiers.base import ChooseTags, Localization, WSSSClassifier
from mmwsss.models.classifiers.inference_views import InferenceViews, restore_view
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample


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

    def class_maps(self, inputs: Tensor) -> Tensor:
        """Return raw class maps (B, C, h, w) of images (B, 3, H, W)."""
        return self.head(self.backbone(inputs)[-1])

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

    @torch.no_grad()
    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Add up the class maps of all views and scales."""
        logits, total = inputs.new_zeros(()), inputs.new_zeros(())
        grid: tuple[int, int] | None = None
        for names, batch in self.inference_views.batches(inputs):
            maps = self.class_maps(batch)
            if grid is None:
                grid = maps.shape[-2], maps.shape[-1]
                logits = maps[: len(inputs)].mean((-2, -1))
            positive = maps.to(torch.promote_types(maps.dtype, torch.float32)).relu()
            for name, part in zip(names, positive.chunk(len(names))):
                total = total + restore_view(part, name, grid)
        picked = [maps[classes] for maps, classes in zip(total, choose_tags(logits))]
        return Localization(logits, [max_normalize(maps) for maps in picked])
