"""Region features of a batch with all that orders them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mmwsss.utils.distributed import gather_rows, global_positions


class RegionBatch(NamedTuple):
    """R regions, each a class of an image."""

    features: Tensor
    """(R, D)."""
    classes: Tensor
    """(R,) int64."""
    positions: Tensor
    """(R,) int64, place of the region's image in the batch of all processes."""
    samples: Tensor
    """(R,) int64, index of the region's image in the data set."""

    @classmethod
    def of_images(cls, means: Tensor, found: Tensor, samples: Tensor) -> RegionBatch:
        """List the regions of this process's images, classes ascending.

        Args:
            means: (B, C, D), one region feature an image and class.
            found: (B, C) bool, whether there is such a region.
            samples: (B,) int64, index of each image in the data set.
        """
        images, classes = found.nonzero(as_tuple=True)
        positions = global_positions(len(means)).to(means.device)
        return cls(
            means[images, classes],
            classes,
            positions[images],
            samples.to(means.device)[images],
        )

    @classmethod
    def empty(cls, like: Tensor) -> RegionBatch:
        """Return no regions, with the channels, dtype and device of (..., D)."""
        none = torch.zeros(0, dtype=torch.int64, device=like.device)
        return cls(like.new_zeros((0, like.shape[-1])), none, none, none)

    def detach(self) -> RegionBatch:
        """Return the regions without their gradients' way back."""
        return self._replace(features=self.features.detach())

    def select(self, index: Tensor) -> RegionBatch:
        """Return the regions that a mask or a list of places picks."""
        return RegionBatch(*(column[index] for column in self))

    def gather(self, *, differentiable: bool = False) -> RegionBatch:
        """Join the regions of all processes, ordered by (position, class).

        Each process gets the same, which is what a single one with the joint batch
        has. Every process must call it, also one without regions; see
        ``gather_rows`` for ``differentiable``.
        """
        features = gather_rows(self.features, differentiable=differentiable)
        keys = gather_rows(torch.stack(self[1:], 1))
        joint = RegionBatch(torch.cat(features), *torch.cat(keys).unbind(1))
        by_class = joint.classes.argsort(stable=True)
        order = by_class[joint.positions[by_class].argsort(stable=True)]
        return joint.select(order)
