"""Pseudo labels by PSA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmwsss.refiners.network_refiner import NetworkRefiner
from mmwsss.registry import REFINERS


@REFINERS.register_module()
@dataclass(frozen=True, kw_only=True)
class PSARefiner(NetworkRefiner):
    """Pixel-level semantic affinity (PSA; Ahn and Kwak, CVPR 2018, section 3.3).

    Args:
        config: As for ``NetworkRefiner``: of the training of a ``PSANetwork``.
        checkpoint: As for ``NetworkRefiner``.
        exponent: Beta, power of the affinities.
        steps: As for ``NetworkRefiner``; the paper squares the matrix 8 times.
        alpha: Power of the background, which walks with the classes (16 in the
            paper for VOC).
        background_threshold: As for ``NetworkRefiner``.
        foreground_threshold: As for ``NetworkRefiner``.

    Raises:
        ConfigError: as for ``NetworkRefiner``.
        CheckpointError: if there is no checkpoint.
    """

    network: ClassVar[str] = 'PSANetwork'
