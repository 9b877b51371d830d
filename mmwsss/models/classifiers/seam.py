"""SEAM: class maps that follow an image when it is resized.

A whole method in one file: its formulas, the one module that learns, the classifier.
docs/tutorials/new_method.md walks through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.functional.checks import check_shape
from mmwsss.functional.localization import max_normalize
from mmwsss.functional.vectors import full_precision, unit
from mmwsss.models.classifiers.base import ChooseTags, Localization
from mmwsss.models.classifiers.cam import CAMClassifier
from mmwsss.models.classifiers.inference_views import restore_view
from mmwsss.models.views import ResizeView
from mmwsss.registry import MODELS
from mmwsss.structures import WSSSDataSample
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.randomness import StepDraws

EPSILON = 1e-6
"""A pixel with a direction resembles itself by 1; sums below this have none."""


def pixel_correlation(embedding: Tensor, maps: Tensor) -> Tensor:
    r"""Average maps over the pixels that resemble each pixel (SEAM, section 3.3).

    .. math::
        y_i = \frac{1}{C_i} \sum_j R(\cos(\theta_i, \theta_j))\,\hat y_j, \qquad
        C_i = \sum_j R(\cos(\theta_i, \theta_j))

    with relu :math:`R`, over all pixels j of the image, i among them.

    Args:
        embedding: theta, (B, E, h, w), any range.
        maps: (B, K, h, w), any range.

    Returns:
        (B, K, h, w), float32 or wider, within the range of each map; 0 at pixels whose
        embedding is 0.

    Raises:
        ValueError: if the shapes disagree.

    Example:
        >>> embedding = torch.tensor([[[[1.0, 2.0, 0.0]], [[0.0, 0.0, 1.0]]]])
        >>> pixel_correlation(embedding, torch.tensor([[[[0.0, 1.0, 5.0]]]]))
        tensor([[[[0.5000, 0.5000, 5.0000]]]])
    """
    check_shape('embedding', embedding, ('B', 'E', 'h', 'w'))
    check_shape('maps', maps, (len(embedding), 'K', *embedding.shape[2:]))
    rows = unit(embedding.flatten(2).transpose(1, 2))
    with full_precision(rows):
        weights = (rows @ rows.transpose(1, 2)).relu()  # symmetric
        summed = maps.flatten(2).to(rows.dtype) @ weights
    totals = weights.sum(1, keepdim=True).clamp_min(EPSILON)
    return (summed / totals).view(maps.shape)


def with_background(maps: Tensor) -> Tensor:
    r"""Put a background before class maps; keep each pixel's strongest (section 3.4).

    .. math::
        s_0 = 1 - \max_c m_c, \qquad s_c = m_c\,[m_c = \max_{c'} m_{c'}]

    Args:
        maps: (B, C, h, w) in [0, 1].

    Returns:
        (B, C + 1, h, w) in [0, 1].

    Example:
        >>> with_background(torch.tensor([[[[0.25]], [[0.75]]]])).flatten()
        tensor([0.2500, 0.0000, 0.7500])
    """
    top = maps.amax(1, keepdim=True)
    return torch.cat([1 - top, torch.where(maps < top, 0, maps)], 1)


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Resize maps to the grid of others: A on class maps (section 3.2).

    Args:
        maps: (B, K, h, w).
        like: (..., h', w').

    Returns:
        (B, K, h', w'), bilinear between the centres of pixels.

    Example:
        >>> resized(torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1))
        tensor([[[[2.]]]])
    """
    size = like.shape[-2:]
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=False)


def hardest_mean(errors: Tensor, ratio: float) -> Tensor:
    r"""Average the largest errors of each image (online hard example mining).

    Args:
        errors: (B, ...), n numbers an image.
        ratio: Share in (0, 1] that counts: the floor(ratio n) largest, at least one.

    Returns:
        Scalar, mean over the images.

    Raises:
        ValueError: if ``ratio`` is outside (0, 1].

    Example:
        >>> hardest_mean(torch.tensor([[1.0, 4.0, 2.0, 3.0]]), 0.5)
        tensor(3.5000)
    """
    if not 0 < ratio <= 1:
        raise ValueError(f'ratio: expected a share in (0, 1], got {ratio}')
    flat = errors.flatten(1)
    count = max(1, int(ratio * flat.shape[1]))
    return flat.topk(count, dim=1).values.mean()


def tagged_maps(raw: Tensor, tags: Tensor) -> Tensor:
    r"""Bring class maps to [0, 1], those of an image's tags: relu over its maximum.

    Args:
        raw: Class maps (B, C, h, w), any range.
        tags: (B, C), 1 for a tag and 0 for none.

    Returns:
        (B, C, h, w) in [0, 1], 0 for classes that are no tags.

    Example:
        >>> raw = torch.tensor([[[[-1.0, 2.0]], [[3.0, 6.0]]]])
        >>> tagged_maps(raw, torch.tensor([[0, 1]])).flatten()
        tensor([0.0000, 0.0000, 0.5000, 1.0000])
    """
    return max_normalize(raw) * tags.to(raw.device)[..., None, None]


class Pass(NamedTuple):
    """What one of the two images of a step gives."""

    logits: Tensor
    """z, (B, C)."""
    maps: Tensor
    """Normalized class maps of the image's tags, (B, C, h, w) in [0, 1]."""
    revised: Tensor | None
    """y, background first, (B, C + 1, h, w) in [0, 1]."""


def equivariant_loss(first: Tensor, second: Tensor) -> Tensor:
    r"""Distance between moved maps and maps of the moved image (L_ER, section 3.4).

    .. math:: L_{ER} = \lVert A(\hat y^o) - \hat y^t \rVert_1

    as a mean over images, classes and pixels.

    Args:
        first: Maps of the image, (B, C, h, w) in [0, 1].
        second: Maps of the resized image, (B, C, h', w') in [0, 1].

    Returns:
        Scalar, with gradients into both.

    Example:
        >>> equivariant_loss(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 2, 2))
        tensor(1.)
    """
    return F.l1_loss(resized(first, second), second)


def equivariant_cross_loss(
    revised: tuple[Tensor, Tensor], maps: tuple[Tensor, Tensor], *, ratio: float
) -> Tensor:
    r"""Distance of revised maps from the plain ones of the other image (L_ECR, 3.4).

    .. math::
        L_{ECR} = \lVert A(y^o) - \hat y^t \rVert_1 + \lVert A(\hat y^o) - y^t \rVert_1

    each a mean over the hardest (class, pixel) pairs of an image, the background among
    the classes. Revised maps alone learn from it.

    Args:
        revised: y of the image and of the resized image, (B, C + 1, h, w) and
            (B, C + 1, h', w').
        maps: Their plain maps, (B, C, h, w) and (B, C, h', w') in [0, 1].
        ratio: Share of the pairs that counts, in (0, 1].

    Returns:
        Scalar.

    Example:
        >>> plain, revised = torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
        >>> equivariant_cross_loss((revised,) * 2, (plain,) * 2, ratio=0.5)
        tensor(2.)
    """
    first, second = (plain.detach() for plain in maps)
    moved = resized(revised[0], second) - with_background(second)
    viewed = with_background(resized(first, second)) - revised[1]
    return hardest_mean(moved.abs(), ratio) + hardest_mean(viewed.abs(), ratio)


class PixelCorrelation(BaseModule):
    """The learned resemblance of pixels (PCM, section 3.3).

    theta is a 1x1 convolution of the image beside features of earlier levels, each
    reduced by a 1x1 convolution and relu. No gradient leaves the module: what it is
    given stays as if it were not there (section 4.1).

    Args:
        in_channels: Channels of each level.
        channels: What they are reduced to; the paper's for stages 3 and 4. Embeddings
            have their sum.
        init_cfg: mmengine's initialization.

    Raises:
        ConfigError: if both do not name as many levels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        channels: Sequence[int] = (64, 128),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if len(in_channels) != len(channels) or not channels:
            raise ConfigError(
                f'correlation: in_channels={tuple(in_channels)} and '
                f'channels={tuple(channels)} must name the same levels, one at least'
            )
        self.reduce = nn.ModuleList(
            nn.Conv2d(wide, narrow, 1) for wide, narrow in zip(in_channels, channels)
        )
        width = sum(channels)
        self.embed = nn.Conv2d(3 + width, width, 1, bias=False)

    def forward(
        self, images: Tensor, levels: Sequence[Tensor], scores: Tensor
    ) -> Tensor:
        """Revise scores.

        Args:
            images: (B, 3, H, W), normalized.
            levels: Feature maps (B, D, h', w'), brought to the grid of the scores by
                averaging.
            scores: (B, C + 1, h, w) in [0, 1], background first.

        Returns:
            (B, C + 1, h, w) in [0, 1].

        Raises:
            ConfigError: if the levels are others than the module was built for.
        """
        found = [level.shape[1] for level in levels]
        expected = [conv.in_channels for conv in self.reduce]
        if found != expected:
            raise ConfigError(
                f'correlation: in_channels={expected}, but the levels before the '
                f"backbone's last have {found} channels; set in_channels to those, or "
                'choose other levels with model.backbone.out_indices'
            )
        grid = (scores.shape[2], scores.shape[3])
        parts = [F.adaptive_avg_pool2d(images, grid)]
        for conv, level in zip(self.reduce, levels):
            parts.append(conv(F.adaptive_avg_pool2d(level.detach(), grid)).relu())
        return pixel_correlation(self.embed(torch.cat(parts, 1)), scores.detach())


@MODELS.register_module()
class SEAMClassifier(CAMClassifier):
    """Self-supervised equivariant attention (Wang et al., CVPR 2020).

    ``L = L_cls + L_ER + L_ECR`` (section 3.4) of an image and its resized view:
    ``L_cls`` is the mean of both classification losses, ``L_ER`` asks that class maps
    are resized with the image, ``L_ECR`` teaches the pixel correlation module, whose
    revised maps are the localization. Maps are divided by their maximum; those of
    classes that the image is not tagged with are 0, as in the authors' release.

    Args:
        num_classes: Foreground classes.
        backbone: Config of a CNN; the last of its levels gives the class maps, those
            before it the module's features.
        head: Config of a ``CAMHead``.
        correlation: Arguments of ``PixelCorrelation``; None trains with ``L_ER`` alone
            and localizes as CAM does (an ablation of the paper).
        scale: Range of the view's uniform factor, drawn once a batch; the paper's is
            fixed.
        er_weight: Weight of ``L_ER``.
        ecr_weight: Weight of ``L_ECR``.
        hard_ratio: Share of (class, pixel) pairs that ``L_ECR`` keeps.
        data_preprocessor: Config of the preprocessor.
        init_cfg: mmengine's initialization.
        **settings: Passed whole to ``CAMClassifier``.

    Raises:
        ConfigError: if a value is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: dict,
        head: dict,
        correlation: dict | None,
        scale: tuple[float, float] = (0.3, 0.3),
        er_weight: float = 1.0,
        ecr_weight: float = 1.0,
        hard_ratio: float = 0.2,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            num_classes,
            backbone=backbone,
            head=head,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            **settings,
        )
        if not 0 < hard_ratio <= 1:
            raise ConfigError(f'hard_ratio must be in (0, 1], got {hard_ratio}')
        if correlation and self.similarity:
            raise ConfigError('similarity: correlation revises maps; set one to None')
        self.correlation = PixelCorrelation(**correlation) if correlation else None
        self.view = ResizeView(scale)
        self.er_weight, self.ecr_weight = er_weight, ecr_weight
        self.hard_ratio = hard_ratio

    def loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_er`` and, with the module, ``loss_ecr``."""
        tags = torch.stack([self._multi_hot(sample) for sample in data_samples])
        view, _ = self.view(inputs, stride=1, draws=StepDraws.of(data_samples))
        first, second = (self._run(images, tags) for images in (inputs, view))
        classified = [
            self.classification_loss(seen.logits, data_samples)
            for seen in (first, second)
        ]
        distance = equivariant_loss(first.maps, second.maps)
        losses = dict(
            loss_cls=torch.stack(classified).mean(), loss_er=self.er_weight * distance
        )
        if first.revised is not None and second.revised is not None:
            losses['loss_ecr'] = self.ecr_weight * equivariant_cross_loss(
                (first.revised, second.revised),
                (first.maps, second.maps),
                ratio=self.hard_ratio,
            )
        return losses

    def _run(self, images: Tensor, tags: Tensor) -> Pass:
        *levels, features = self.backbone(images)
        raw = self.head(features)
        maps = tagged_maps(raw, tags)
        revised = None
        if self.correlation is not None:
            revised = self.correlation(images, levels, with_background(maps))
        return Pass(raw.mean((-2, -1)), maps, revised)

    @torch.no_grad()
    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Add up the revised maps of the chosen tags over all views and scales."""
        if self.correlation is None:
            return super().localize(inputs, choose_tags)
        logits = tags = total = inputs.new_zeros(())
        classes: list[Tensor] | None = None
        grid = (1, 1)
        for names, batch in self.inference_views.batches(inputs):
            *levels, features = self.backbone(batch)
            raw = self.head(features)
            if classes is None:
                grid = raw.shape[-2], raw.shape[-1]
                logits = raw[: len(inputs)].mean((-2, -1))
                classes = choose_tags(logits)
                tags = torch.stack([_one_hot(index, logits[0]) for index in classes])
            maps = tagged_maps(raw, tags.repeat(len(names), 1))
            revised = self.correlation(batch, levels, with_background(maps))[:, 1:]
            for name, part in zip(names, revised.chunk(len(names))):
                total = total + restore_view(part, name, grid)
        picked = [maps[index] for maps, index in zip(total, classes or [])]
        return Localization(logits, [max_normalize(maps) for maps in picked])


def _one_hot(classes: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_fill(0, classes.to(like.device), 1)
