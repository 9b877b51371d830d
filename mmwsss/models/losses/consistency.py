"""Consistency of attention between two views."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmwsss.functional.attention import DISTANCES, attention_consistency
from mmwsss.registry import MODELS
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import training_share


@MODELS.register_module()
class AttentionConsistencyLoss(nn.Module):
    """Weighted activation and affinity consistency (ACR, eq. 6).

    Args:
        alpha: Weight of the activation consistency.
        beta: Weight of the affinity consistency.
        distance: ``l1``, ``l2`` (squared) or ``smooth_l1``.
        ramp: Shares (first, last) of the training between which both weights grow
            linearly from 0; None, as in the paper, is their full value from the start.

    Raises:
        ConfigError: if a weight is negative or ``distance`` or ``ramp`` is not valid.
    """

    def __init__(
        self,
        *,
        alpha: float = 100.0,
        beta: float = 100.0,
        distance: str = 'l1',
        ramp: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ConfigError(
                f'distance: expected one of {sorted(DISTANCES)}, got {distance!r}'
            )
        if min(alpha, beta) < 0:
            raise ConfigError(f'alpha and beta must be >= 0, got {alpha} and {beta}')
        if ramp is not None and not 0 <= ramp[0] < ramp[1] <= 1:
            raise ConfigError(
                'ramp must be shares of the training, 0 <= first < last <= 1, got '
                f'{ramp}'
            )
        self.alpha, self.beta, self.distance, self.ramp = alpha, beta, distance, ramp

    def forward(
        self, first: Sequence[Tensor], second: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Compare head-mean attention of two views, block by block.

        Args:
            first: One (B, N, N) a block.
            second: The same for the second view, in the first one's token order.

        Returns:
            ``loss_activation`` and ``loss_affinity``, weighted scalars.
        """
        activation, affinity = attention_consistency(
            first, second, distance=self.distance
        )
        progress = self.progress(training_share())
        return dict(
            loss_activation=self.alpha * progress * activation,
            loss_affinity=self.beta * progress * affinity,
        )

    def progress(self, share: float) -> float:
        """Return the part of the weights, in [0, 1], at a share of the training."""
        if self.ramp is None:
            return 1.0
        first, last = self.ramp
        return min(1.0, max(0.0, (share - first) / (last - first)))
