"""RCA as its equations read: head by head, image by image, region by region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Region(NamedTuple):
    """The mean feature of a class in an image."""

    image: int
    label: int
    feature: Tensor


class Partner(NamedTuple):
    """What a region is mixed with."""

    region: Region
    omega: float


class SeparateHeads(nn.Module):
    """A stack of 3x3 convolutions of its own for each class, run one after the other.

    Args:
        in_channels: Channels of the features.
        num_classes: C.
        channels: Channels of the 3x3 convolutions.
    """

    def __init__(self, in_channels: int, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stacks = nn.ModuleList()
        for _ in range(num_classes):
            layers: list[nn.Module] = []
            for width in (in_channels, channels, channels):
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
            self.stacks.append(nn.Sequential(*layers, nn.Conv2d(channels, 1, 1)))

    def forward(self, features: Tensor) -> Tensor:
        """Return maps (B, C, h, w)."""
        return torch.cat([stack(features) for stack in self.stacks], 1)


class PlainRCA:
    """Loss of a batch against a full bank.

    Args:
        backbone: Images to features (B, D, h, w).
        coarse_head: Features to the coarse maps.
        projection: Features to the space of regions.
        head: Features and context to the maps.
        bank: (C, L, D), all slots written.
        prototypes: (C, P, D).
        temperature: Of the contrast.
    """

    def __init__(
        self,
        backbone: nn.Module,
        coarse_head: nn.Module,
        projection: nn.Module,
        head: nn.Module,
        *,
        bank: Tensor,
        prototypes: Tensor,
        temperature: float = 0.07,
    ) -> None:
        self.backbone, self.coarse_head = backbone, coarse_head
        self.projection, self.head = projection, head
        self.bank, self.prototypes = bank, prototypes
        self.temperature = temperature

    def parameters(self) -> list[nn.Parameter]:
        """Return all weights."""
        parts = (self.backbone, self.coarse_head, self.projection, self.head)
        return [weight for part in parts for weight in part.parameters()]

    def loss(
        self,
        images: Tensor,
        tags: Sequence[Sequence[int]],
        partners: Sequence[tuple[int, float]],
        *,
        coarse_weight: float,
        contrast_weight: float,
    ) -> tuple[Tensor, list[Region]]:
        """Return the loss, and the regions that the bank takes up.

        Args:
            images: (B, 3, H, W).
            tags: The classes of each image, ascending.
            partners: For each region, images in order and classes ascending, the
                region it is mixed with and its own share.
            coarse_weight: Weight of the coarse maps' classification.
            contrast_weight: Weight of the contrast.
        """
        features = self.backbone(images)
        coarse, projected = self.coarse_head(features), self.projection(features)
        maps = self.head(torch.cat([features, self.context(projected)], 1))
        targets = torch.zeros(maps.shape[:2], device=maps.device, dtype=maps.dtype)
        for row, labels in zip(targets, tags):
            row[list(labels)] = 1
        total = F.multilabel_soft_margin_loss(maps.mean((2, 3)), targets)
        rough = F.multilabel_soft_margin_loss(coarse.mean((2, 3)), targets)
        total = total + coarse_weight * rough
        regions = self.regions(projected, coarse.detach(), tags)
        pairs = [Partner(regions[index], omega) for index, omega in partners]
        contrast = self.contrast(regions, pairs, len(images))
        scores = maps.detach().mean((2, 3)).sigmoid()
        kept = [r for r in regions if scores[r.image, r.label] > 0.7]
        return total + contrast_weight * contrast, kept

    def context(self, projected: Tensor) -> Tensor:
        """Sum the prototypes by their affinity to each pixel (eqs. 7 and 8)."""
        contexts = []
        rows = self.prototypes.flatten(0, 1)
        for image in projected:
            pixels = image.flatten(1).T
            affinity = (pixels @ rows.T).softmax(1)
            contexts.append((affinity @ rows).T.view_as(image))
        return torch.stack(contexts)

    def regions(
        self, features: Tensor, coarse: Tensor, tags: Sequence[Sequence[int]]
    ) -> list[Region]:
        """Average features where a class's score exceeds its mean (eqs. 1 and 2)."""
        found = []
        for image, labels in enumerate(tags):
            scores = coarse[image].softmax(0)
            for label in labels:
                mask = (scores[label] > scores[label].mean()).to(features.dtype)
                total = (features[image] * mask).sum((1, 2))
                found.append(Region(image, label, total / mask.sum()))
        return found

    def contrast(
        self, regions: list[Region], partners: list[Partner], num_images: int
    ) -> Tensor:
        """Contrast mixed regions with the bank (eqs. 5 and 6)."""
        losses: list[list[Tensor]] = [[] for _ in range(num_images)]
        for region, (other, omega) in zip(regions, partners):
            mixed = omega * region.feature + (1 - omega) * other.feature
            mixed = mixed / mixed.norm()
            own, alien = self.nce(mixed, region.label), self.nce(mixed, other.label)
            losses[region.image].append(omega * own + (1 - omega) * alien)
        return sum(torch.stack(parts).mean() for parts in losses if parts) / num_images

    def nce(self, query: Tensor, label: int) -> Tensor:
        """Contrast a unit query with a class (eq. 4): negatives for each positive."""
        unit = F.normalize(self.bank, dim=2)
        positives = unit[label] @ query / self.temperature
        others = [unit[c] for c in range(len(unit)) if c != label]
        negatives = torch.cat(others) @ query / self.temperature
        repeated = negatives.expand(len(positives), -1)
        logits = torch.cat([positives[:, None], repeated], 1)
        return (logits.logsumexp(1) - positives).mean()

    def write(self, regions: list[Region], pointer: list[int], momentum: float) -> None:
        """Move the slots at the pointers towards the regions (eq. 3)."""
        for _, label, feature in regions:
            slot = self.bank[label, pointer[label]]
            slot.copy_(momentum * slot + (1 - momentum) * feature.detach())
            pointer[label] = (pointer[label] + 1) % self.bank.shape[1]
