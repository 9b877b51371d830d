"""What CNN backbones and hybrid stems share: levels in one map, parts that stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.utils.errors import ConfigError


def stack_levels(levels: Sequence[Tensor]) -> Tensor:
    """Return levels (B, D_i, h_i, w_i) as one map (B, sum of D_i, h_0, w_0).

    Later levels are up-sampled to the first (bilinear).
    """
    size = levels[0].shape[-2:]
    return torch.cat(
        [
            level
            if level.shape[-2:] == size
            else F.interpolate(level, size=size, mode='bilinear', align_corners=False)
            for level in levels
        ],
        1,
    )


class StackedLevels(nn.Module):
    """A CNN whose levels become one map, at the resolution of the first.

    Args:
        cnn: Images (B, 3, H, W) to levels, finest first.
    """

    def __init__(self, cnn: nn.Module) -> None:
        super().__init__()
        self.cnn = cnn

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, sum of D_i, h_0, w_0)."""
        return stack_levels(self.cnn(images))


class FrozenParts:
    """Parts of a network whose weights and statistics stay as they are.

    Args:
        network: The network.
        names: Of its parts; ``''`` is all of it.

    Raises:
        ConfigError: if it has no such part.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        known = dict(network.named_modules())
        if unknown := sorted(set(names) - known.keys()):
            raise ConfigError(
                f'frozen: the network has no part {unknown[0]!r}; its parts are '
                f'{", ".join(name for name, _ in network.named_children())}, parts '
                "within them, and '' for all of it"
            )
        self.parts = [known[name] for name in names]
        for part in self.parts:
            part.requires_grad_(False)
        self.keep()

    def keep(self) -> None:
        """Let them stay as in testing, after the network's mode was set."""
        for part in self.parts:
            part.eval()
