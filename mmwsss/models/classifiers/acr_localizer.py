"""ACR's localization maps: which views, scales and blocks, and how they add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmwsss.functional.localization import (
    BLOCK_MAP_KINDS,
    block_map,
    min_max_normalize,
)
from mmwsss.models.backbones.attention_vit import AttentionViT
from mmwsss.models.backbones.class_token_gradients import (
    ClassTokenGradients,
    class_token_gradients,
)
from mmwsss.models.classifiers.base import ChooseTags, Localization
from mmwsss.models.classifiers.inference_views import InferenceViews, restore_view
from mmwsss.utils.errors import ConfigError

Head = Callable[[Tensor], Tensor]
"""Class token (B, E) to logits (B, C)."""


class ACRLocalizer:
    """Gradient-weighted attention maps, refined by the learned affinity.

    Args:
        kind: How a block's gradient and attention are joined.
        start_block: First block, from 0, that counts.
        affinity: Whether maps are spread along the patch affinity of all blocks.
        views: Names of D4 whose maps are brought back and added.
        scales: Factors of the input size whose maps are added likewise.

    Raises:
        ConfigError: if a value is not valid.
    """

    def __init__(
        self,
        *,
        kind: str = 'grad',
        start_block: int = 10,
        affinity: bool = True,
        views: Sequence[str] = ('identity', 'hflip'),
        scales: Sequence[float] = (1.0,),
    ) -> None:
        if kind not in BLOCK_MAP_KINDS:
            raise ConfigError(f'kind: expected one of {BLOCK_MAP_KINDS}, got {kind!r}')
        self.kind, self.start_block, self.affinity = kind, start_block, affinity
        self.inference_views = InferenceViews(views=views, scales=scales)

    def check_depth(self, depth: int) -> None:
        """Check ``start_block`` against the number of blocks.

        Raises:
            ConfigError: if there is no such block.
        """
        if not 0 <= self.start_block < depth:
            raise ConfigError(
                f'localization.start_block: expected 0..{depth - 1} for a backbone of '
                f'{depth} blocks, got {self.start_block}'
            )

    def __call__(
        self, vit: AttentionViT, head: Head, images: Tensor, choose_tags: ChooseTags
    ) -> Localization:
        """Localize the chosen classes.

        Args:
            vit: The transformer.
            head: Class token (B, E) to logits (B, C).
            images: (B, 3, H, W), normalized.
            choose_tags: Picks each image's classes from the logits of the first view.

        Returns:
            Logits of the first view and maps in [0, 1], each min-max normalized.
        """
        logits, classes, maps = self.sum_views(vit, head, images, choose_tags)
        return Localization(
            logits,
            [min_max_normalize(m[: len(c)].float()) for m, c in zip(maps, classes)],
        )

    def sum_views(
        self, vit: AttentionViT, head: Head, images: Tensor, choose_tags: ChooseTags
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Add up the maps of all views and scales, before normalization.

        Returns:
            Logits (B, C), the classes of each image, and maps (B, K, gh, gw) with
            K the largest number of classes; images with fewer are filled up.
        """
        grid = vit.grid(images)
        logits, classes = images.new_zeros(()), list[Tensor]()
        total = images.new_zeros(())

        def select(batch_logits: Tensor) -> Tensor:
            nonlocal logits
            if not classes:
                logits = batch_logits[: len(images)]
                classes.extend(choose_tags(logits))
            padded = pad_sequence(classes, batch_first=True)
            return padded.repeat(len(batch_logits) // len(images), 1)

        for names, batch in self.inference_views.batches(images, stride=vit.stride):
            found = class_token_gradients(
                vit, batch, head, select, start_block=self.start_block
            )
            maps = self._join_blocks(found).unflatten(-1, vit.grid(batch))
            for name, part in zip(names, maps.chunk(len(names))):
                total = total + restore_view(part, name, grid)
        return logits, classes, total

    def _join_blocks(self, found: ClassTokenGradients) -> Tensor:
        pairs = zip(found.gradients, found.attentions)
        maps = torch.stack([block_map(*pair, self.kind) for pair in pairs]).sum(0)
        return found.affinity.spread(maps) if self.affinity else maps
