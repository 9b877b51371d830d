"""ACR: a vision transformer whose attention agrees between two views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmwsss.models.classifiers.acr_localizer import ACRLocalizer
from mmwsss.models.classifiers.base import ChooseTags, Localization, WSSSClassifier
from mmwsss.models.views import build_view
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.randomness import StepDraws


@MODELS.register_module()
class ACRClassifier(WSSSClassifier):
    """All-pairs consistency learning (Sun et al., ICCVW 2023).

    ``L = L_cls(x) + L_cls(f(x)) + alpha L_act + beta L_aff`` (eq. 6); logits are a
    linear head on the class token of the last block, before any final norm.

    Args:
        num_classes: Foreground classes.
        backbone: Config of an ``AttentionViT``.
        view: Config of the second view f, or a list of configs applied in turn; None
            trains on one view without consistency (the baseline of table 1).
        consistency: Config of the loss between both views' attention.
        localization: Arguments of ``ACRLocalizer``.
        data_preprocessor: Config of the preprocessor.
        init_cfg: mmengine's initialization.
        **settings: Passed whole to ``WSSSClassifier``.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: dict,
        view: dict | list[dict] | None = None,
        consistency: dict | None = None,
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
        self.cls_head = nn.Linear(self.backbone.embed_dim, num_classes)
        self.view = build_view(view) if view else None
        self.consistency = MODELS.build(
            consistency or dict(type='AttentionConsistencyLoss')
        )
        self.localizer = ACRLocalizer(**(localization or {}))
        self.localizer.check_depth(self.backbone.depth)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return class logits (B, C) of images (B, 3, H, W)."""
        return self.cls_head(self.backbone(inputs).tokens[:, 0])

    def loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_cls`` and, with a view, the three further terms of eq. 6."""
        if self.view is None:
            return dict(
                loss_cls=self.classification_loss(self.logits(inputs), data_samples)
            )
        self.backbone.grid(inputs)  # refuse odd sizes before a view cuts patches
        view, restore = self.view(
            inputs, stride=self.backbone.stride, draws=StepDraws.of(data_samples)
        )
        (logits, first), (view_logits, second) = self._run_both(inputs, view)
        return dict(
            loss_cls=self.classification_loss(logits, data_samples),
            loss_cls_view=self.classification_loss(view_logits, data_samples),
            **self.consistency(first, [restore(attention) for attention in second]),
        )

    def _run_both(
        self, inputs: Tensor, view: Tensor
    ) -> list[tuple[Tensor, Sequence[Tensor]]]:
        """Return logits and attentions of both, from one pass where sizes allow."""
        if inputs.shape != view.shape:
            outputs = [self.backbone(images) for images in (inputs, view)]
            return [(self.cls_head(o.tokens[:, 0]), o.attentions) for o in outputs]
        output = self.backbone(torch.cat([inputs, view]))
        logits = self.cls_head(output.tokens[:, 0]).chunk(2)
        attentions = zip(*(attention.chunk(2) for attention in output.attentions))
        return list(zip(logits, attentions))

    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Localize by gradient-weighted attention (section 3.3)."""
        return self.localizer(self.backbone, self.cls_head, inputs, choose_tags)
