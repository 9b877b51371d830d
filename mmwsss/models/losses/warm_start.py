"""Attention that carries information before consistency regularizes it."""

from __future__ import annotations

from torch import Tensor, nn

from mmwsss.functional.attention import attention_divergence, feature_affinity
from mmwsss.models.backbones.attention_vit import ViTOutput
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import training_share


@MODELS.register_module()
class AttentionWarmStartLoss(nn.Module):
    """Draw patch attention towards the similarity of the patches' embeddings.

    Not part of the paper: attention of a transformer trained from scratch stays near
    uniform, so that consistency has nothing to keep and the affinity spreads maps over
    the whole image. Pre-trained transformers do not need it.

    Args:
        loss_weight: Weight of the divergence.
        temperature: Of the softmax over cosine similarities.
        until: Share of the training after which the loss is off; None keeps it on.

    Raises:
        ConfigError: if ``temperature`` is not positive or ``until`` no share.
    """

    def __init__(
        self,
        *,
        loss_weight: float = 1.0,
        temperature: float = 0.15,
        until: float | None = None,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f'temperature must be positive, got {temperature}')
        if until is not None and not 0 < until <= 1:
            raise ConfigError(
                f'until must be a share of the training, above 0 up to 1, got {until}'
            )
        self.loss_weight, self.temperature, self.until = loss_weight, temperature, until

    def forward(self, output: ViTOutput) -> dict[str, Tensor]:
        """Return ``loss_warm_start`` of a pass, or nothing once it is off."""
        if self.until is not None and training_share() >= self.until:
            return {}
        target = feature_affinity(
            output.embedding[:, 1:].detach(), temperature=self.temperature
        )
        divergence = attention_divergence(target, output.attentions)
        return dict(loss_warm_start=self.loss_weight * divergence)
