"""What all classifiers share: dispatch, tags, and packing of predictions."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.vectors import widen
from mmwsss.models.classifiers.checkpoint_guard import refuse_other_shapes
from mmwsss.models.classifiers.joint_batch import own_share
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.observation import MemoryState, Observation, ViewAttention
from mmwsss.utils.errors import ConfigError, DataError

TAG_SOURCES = ('given', 'predicted', 'auto')


class Localization(NamedTuple):
    """Maps of a batch on the network's grid."""

    logits: Tensor
    """(B, C)."""
    maps: list[Tensor]
    """One (k, h, w) an image, in [0, 1]; k classes, ascending."""


ChooseTags = Callable[[Tensor], list[Tensor]]
"""Logits (B, C) to the classes, (k,) int64 ascending, localized in each image."""


class WSSSClassifier(BaseModel, metaclass=ABCMeta):
    """A multi-label classifier that localizes what it recognizes.

    Args:
        num_classes: Foreground classes; the data set's ``classes`` less background.
        data_preprocessor: Config of the preprocessor.
        tags: Which classes are localized: the image's own tags (``given``, the seed
            protocol), those recognized (``predicted``), or ``auto``: given ones where
            there are any.
        tag_threshold: Probability from which a class counts as recognized.
        background_threshold: Score in [0, 1] of the background in ``pred_sem_seg``.
        align_corners: How maps are up-sampled (True in the authors' releases).
        seg_logits: Whether predictions carry score planes of all classes, as mmseg's
            own models do (num_classes + 1 planes of the image's size).
        init_cfg: mmengine's initialization.

    Raises:
        ConfigError: if ``tags`` or ``num_classes`` is not valid.
    """

    joint_losses: tuple[str, ...] = ()
    """Losses that already are of the images of all processes."""

    def __init__(
        self,
        num_classes: int,
        *,
        data_preprocessor: dict | None = None,
        tags: str = 'auto',
        tag_threshold: float = 0.5,
        background_threshold: float = 0.4,
        align_corners: bool = True,
        seg_logits: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if tags not in TAG_SOURCES:
            raise ConfigError(f'tags: expected one of {TAG_SOURCES}, got {tags!r}')
        if num_classes < 1:
            raise ConfigError(f'num_classes must be at least 1, got {num_classes}')
        self.num_classes = num_classes
        self.tags, self.tag_threshold = tags, tag_threshold
        self.background_threshold = background_threshold
        self.align_corners, self.with_seg_logits = align_corners, seg_logits
        refuse_other_shapes(self)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[WSSSDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[WSSSDataSample] | Tensor:
        """Dispatch to the loss, to predictions, or to logits.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: One a image; not needed for ``tensor``.
            mode: ``loss``, ``predict`` or ``tensor``.

        Returns:
            A dict of losses, the samples with predictions, or logits (B, C).

        Raises:
            ConfigError: if ``mode`` is unknown.
            DataError: if a loss is asked for and an image has no sample.
        """
        if mode == 'loss':
            _check_samples(inputs, data_samples)
            return self._joint_loss(inputs, data_samples or [])
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.logits(inputs)
        raise ConfigError(f"mode: expected 'loss', 'predict' or 'tensor', got {mode!r}")

    def _joint_loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        inputs, data_samples, weight = own_share(inputs, data_samples)
        losses = self.loss(inputs, data_samples)
        if weight is None:
            return losses
        return {
            name: loss if name in self.joint_losses else weight.to(loss.dtype) * loss
            for name, loss in losses.items()
        }

    @abstractmethod
    def logits(self, inputs: Tensor) -> Tensor:
        """Return class logits (B, C) of images (B, 3, H, W)."""

    @abstractmethod
    def loss(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> dict[str, Tensor]:
        """Return named losses of a batch; those named ``loss*`` are added up."""

    @abstractmethod
    def localize(self, inputs: Tensor, choose_tags: ChooseTags) -> Localization:
        """Localize in each image the classes that ``choose_tags`` picks."""

    def predict(
        self, inputs: Tensor, data_samples: list[WSSSDataSample] | None = None
    ) -> list[WSSSDataSample]:
        """Localize and pack: scores, maps, and labels at the image's own size.

        Args:
            inputs: (B, 3, H, W), normalized, padding on the right and at the bottom.
            data_samples: With ``img_shape`` and ``ori_shape``; made when absent.

        Returns:
            The samples with ``pred_score``, ``localization``, ``pred_sem_seg`` and,
            if asked for, ``seg_logits``.
        """
        if data_samples is None:
            data_samples = [WSSSDataSample() for _ in inputs]
        chosen: list[Tensor] = []

        def choose_tags(logits: Tensor) -> list[Tensor]:
            chosen[:] = [
                self._choose(*pair) for pair in zip(logits.sigmoid(), data_samples)
            ]
            return chosen

        logits, maps = self.localize(inputs, choose_tags)
        input_shape = inputs.shape[-2], inputs.shape[-1]
        scores = logits.float().sigmoid()
        for packed in zip(data_samples, scores, maps, chosen):
            self._pack(*packed, input_shape=input_shape)
        return data_samples

    @torch.no_grad()
    def observe(self, data: dict) -> Observation:
        """Return what pictures of a training show of an image.

        Args:
            data: A batch of one image (3, h, w) in mmcv's BGR, as of ``test_step``.
        """
        (image,) = data['inputs']
        data = self.data_preprocessor(data, False)
        (sample,) = self.predict(data['inputs'], data['data_samples'])
        height, width = sample.get('img_shape', image.shape[-2:])[:2]
        colours = image[:, :height, :width].flip(0).clamp(0, 255).to(torch.uint8)
        views = self.attend_views(data['inputs'], data['data_samples'])
        return Observation(colours, data['inputs'][0], sample, views)

    def attend_views(
        self, inputs: Tensor, data_samples: list[WSSSDataSample]
    ) -> ViewAttention | None:
        """Return the attention of an image (1, 3, H, W) and of its second view.

        None of a classifier that compares no attention.
        """
        return None

    def memory_state(self) -> MemoryState | None:
        """Return what the memory holds; None of a classifier without."""
        return None

    def _choose(self, score: Tensor, sample: WSSSDataSample) -> Tensor:
        given = sample.get('gt_label')
        if self.tags == 'given' and given is None:
            raise DataError(
                f'{describe(sample)}: no tags; give them in the tag file, or set '
                "model.tags='predicted'"
            )
        if self.tags != 'predicted' and given is not None:
            self._check_range(given, sample)
            return given.to(score.device)
        return (score >= self.tag_threshold).nonzero().flatten()

    def _pack(
        self,
        sample: WSSSDataSample,
        score: Tensor,
        maps: Tensor,
        classes: Tensor,
        *,
        input_shape: tuple[int, int],
    ) -> None:
        sample.set_pred_score(score)
        sample.set_localization(
            maps,
            classes.tolist(),
            input_shape=input_shape,
            align_corners=self.align_corners,
        )
        img_shape = tuple(sample.get('img_shape', input_shape)[:2])
        planes = maps_to_image(
            maps,
            input_shape=input_shape,
            img_shape=img_shape,
            ori_shape=tuple(sample.get('ori_shape', img_shape)[:2]),
            align_corners=self.align_corners,
        )
        threshold = planes.new_full((1, *planes.shape[1:]), self.background_threshold)
        # the same as argmax, which takes many times as long on a CPU
        winner = torch.cat([threshold, planes]).max(0, keepdim=True).indices
        labels = torch.cat([classes.new_zeros(1), classes + 1])
        sample.pred_sem_seg = PixelData(data=labels[winner])
        if self.with_seg_logits:
            scores = planes.new_zeros((self.num_classes + 1, *planes.shape[1:]))
            scores[labels] = torch.cat([threshold, planes])
            sample.seg_logits = PixelData(data=scores)

    def classification_loss(
        self, logits: Tensor, data_samples: Sequence[WSSSDataSample]
    ) -> Tensor:
        """Multi-label soft margin loss, mean over classes and images.

        Args:
            logits: (B, C).
            data_samples: B samples with ``gt_label``.

        Returns:
            Scalar, float32 or wider.

        Raises:
            DataError: if an image has no tags, or one of a class that is not there.
        """
        targets = torch.stack([self._multi_hot(sample) for sample in data_samples])
        # a sum over many classes may exceed half precision
        logits = widen(logits)
        return F.multilabel_soft_margin_loss(logits, targets.to(logits))

    def _multi_hot(self, sample: WSSSDataSample) -> Tensor:
        tags = sample.get('gt_label')
        if tags is None or len(tags) == 0:
            raise DataError(
                f'{describe(sample)}: an image without tags cannot train a classifier; '
                'tag it or leave it out of the split'
            )
        self._check_range(tags, sample)
        return F.one_hot(tags, self.num_classes).amax(0)

    def _check_range(self, tags: Tensor, sample: WSSSDataSample) -> None:
        unknown = [tag for tag in tags.tolist() if not 0 <= tag < self.num_classes]
        if unknown:
            raise DataError(
                f'{describe(sample)}: tag {unknown[0]} of a model with '
                f"{self.num_classes} classes; set model.num_classes to the data set's"
            )


def _check_samples(
    inputs: Tensor, data_samples: Sequence[WSSSDataSample] | None
) -> None:
    count = len(data_samples or ())
    if count != len(inputs):
        raise DataError(
            f'{len(inputs)} images with {count} samples: a classifier learns from '
            "tags; end the training's pipeline with PackWSSSInputs"
        )


def describe(sample: WSSSDataSample) -> str:
    """Return the image's path, or words in its place, for messages."""
    return str(sample.get('img_path', 'an image given as an array'))
