"""Pseudo labels by a walk that stops at the class boundaries which IRN finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmwsss.refiners.network_refiner import NetworkRefiner
from mmwsss.registry import REFINERS


@REFINERS.register_module()
@dataclass(frozen=True, kw_only=True)
class IRNRefiner(NetworkRefiner):
    """Inter-pixel relations (IRN; Ahn, Cho and Kwak, CVPR 2019, section 5).

    Maps count where there is no class boundary, and walk up to them. Where no
    background is set, its score is 0.25.

    Args:
        config: As for ``NetworkRefiner``: of the training of an ``IRNetwork``.
        checkpoint: As for ``NetworkRefiner``.
        exponent: Beta, power of the affinities.
        steps: As for ``NetworkRefiner``; the paper squares the matrix 8 times.
        alpha: As for ``NetworkRefiner``.
        background_threshold: As for ``NetworkRefiner``.
        foreground_threshold: As for ``NetworkRefiner``.

    Raises:
        ConfigError: as for ``NetworkRefiner``.
        CheckpointError: if there is no checkpoint.
    """

    network: ClassVar[str] = 'IRNetwork'
    background: ClassVar[tuple[str, float]] = ('background_threshold', 0.25)

    exponent: float = 10.0
