"""ACR: a vision transformer whose attention agrees between two views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmwsss.models.backbones import ViTOutput
from mmwsss.models.classifiers.acr_localizer import ACRLocalizer
from mmwsss.models.classifiers.base import ChooseTags, Localization, WSSSClassifier
from mmwsss.models.views import build_view
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.observation import ViewAttention
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
        warm_start: Config of a loss that informs attention first, for transformers
            trained from scratch; None, as in the paper, is none.
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
        warm_start: dict | None = None,
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
        self.warm_start = MODELS.build(warm_start) if warm_start else None
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
            output = self.backbone(inputs)
            losses: dict[str, Tensor] = {}
        else:
            self.backbone.grid(inputs)  # refuse odd sizes before a view cuts patches
            view, restore = self.view(
                inputs, stride=self.backbone.stride, draws=StepDraws.of(data_samples)
            )
            output, second = self._run_both(inputs, view)
            losses = self.consistency(
                output.attentions, [restore(a) for a in second.attentions]
            )
            losses['loss_cls_view'] = self._classify(second, data_samples)
        if self.warm_start is not None:
            losses |= self.warm_start(output)
        return dict(loss_cls=self._classify(output, data_samples), **losses)

    def _classify(
        self, output: ViTOutput, data_samples: list[WSSSDataSample]
    ) -> Tensor:
        return self.classification_loss(
            self.cls_head(output.tokens[:, 0]), data_samples
        )

    def _run_both(self, inputs: Tensor, view: Tensor) -> Sequence[ViTOutput]:
        """Run both, in one pass where sizes allow."""
        if inputs.shape != view.shape:
            return [self.backbone(images) for images in (inputs, view)]
        return self.backbone(torch.cat([inputs, view])).halves()

    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Localize by gradient-weighted attention (section 3.3)."""
        return self.localizer(self.backbone, self.cls_head, inputs, choose_tags)

    @torch.no_grad()
    def attend_views(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> ViewAttention | None:
        """Return the attention of an image (1, 3, H, W) and of its second view.

        Draws of the view are those of iteration 0, so that they stay the same over a
        training. None without a view.
        """
        if self.view is None:
            return None
        self.backbone.grid(inputs)
        draws = replace(StepDraws.of(data_samples), iteration=0)
        view, restore = self.view(inputs, stride=self.backbone.stride, draws=draws)
        return self.attend_pair(inputs, view, restore)

    @torch.no_grad()
    def attend_pair(
        self, inputs: Tensor, view: Tensor, restore: Callable[[Tensor], Tensor]
    ) -> ViewAttention:
        """Return the attention of an image (1, 3, H, W) and of a given view of it.

        Args:
            inputs: The image.
            view: (1, 3, H', W').
            restore: Attention of the view to the image's token order.
        """
        first, second = self._run_both(inputs, view)
        return ViewAttention(
            view=view[0],
            grid=self.backbone.grid(inputs),
            first=[attention[0] for attention in first.attentions],
            second=[attention[0] for attention in second.attentions],
            restored=[restore(attention)[0] for attention in second.attentions],
        )
