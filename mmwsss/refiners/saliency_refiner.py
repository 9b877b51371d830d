"""Pseudo labels with saliency maps as the cue of the background."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmwsss.functional.refinement.saliency_label import saliency_label
from mmwsss.refiners.base import IGNORED_LABEL, Refiner
from mmwsss.refiners.dense_crf_refiner import DenseCRFRefiner
from mmwsss.registry import REFINERS
from mmwsss.utils.errors import ConfigError, DataError
from mmwsss.utils.label_codec import check_claim


@REFINERS.register_module()
@dataclass(frozen=True, kw_only=True)
class SaliencyRefiner(Refiner):
    """The background's score is 1 - saliency; unsure pixels are undecided (RCA).

    Saliency models learn from masks: it is supervision besides the tags, and the
    labels' manifest says so. The rule is that of ``saliency_label``.

    Args:
        folder: Folder of the saliency maps, ``<image id><suffix>``: 8-bit grey, of the
            images' size, 255 = salient. Labels do not follow changes of its files.
        suffix: Ending of their names.
        conflict: Two class scores above this leave a pixel undecided.
        salient: Background is undecided from this saliency in [0, 1] on.
        crf: Settings of a ``DenseCRFRefiner``, or None without one.
        certain: Background is undecided where the CRF's probability of a class exceeds
            this.
        least_share: An image with less foreground, as a share, is undecided as a whole.
        image_id: The image whose map is read; see ``for_image``.

    Raises:
        ConfigError: if there is no such folder, or a value is not in [0, 1].
        DependencyError: if the CRF's package is absent.
    """

    extra_supervision = 'saliency'
    on_cpu = True

    folder: str = ''
    suffix: str = '.png'
    conflict: float = 0.9
    salient: float = 32 / 255
    crf: Mapping[str, Any] | DenseCRFRefiner | None = field(default_factory=dict)
    certain: float = 0.8
    least_share: float = 0.01
    image_id: str | None = None

    def __post_init__(self) -> None:
        if not self.folder or not Path(self.folder).is_dir():
            raise ConfigError(
                f'refiner.folder: expected a folder of saliency maps, got '
                f'{self.folder!r}; name it with --cfg-options refiner.type=saliency '
                'refiner.folder=DIR'
            )
        for name in ('conflict', 'salient', 'certain', 'least_share'):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f'refiner.{name}: expected 0..1, got {getattr(self, name)}'
                )
        if isinstance(self.crf, Mapping):
            object.__setattr__(self, 'crf', DenseCRFRefiner(**self.crf))

    def for_image(self, image_id: str) -> SaliencyRefiner:
        """Return the refiner that reads the saliency map of this image."""
        return replace(self, image_id=image_id)

    def settings(self) -> dict[str, Any]:
        """Return the type's name and all settings but the image."""
        settings = super().settings()
        del settings['image_id']
        return settings

    def refine(
        self, maps: Tensor, image: NDArray[np.uint8], tags: Sequence[int]
    ) -> Tensor:
        """Return the label (H, W) by maps, saliency and CRF.

        Raises:
            DataError: if the saliency map is missing, unreadable or of another size.
        """
        maps = maps.cpu()
        refined = None
        if isinstance(self.crf, DenseCRFRefiner):
            planes = torch.cat([self.crf.backgrounds(maps)[0], maps])
            refined = self.crf.marginals(planes, image)[1:]
        return saliency_label(
            maps,
            tags,
            self.saliency(image.shape[:2]),
            refined,
            conflict=self.conflict,
            salient=self.salient,
            certain=self.certain,
            least_share=self.least_share,
            ignore_index=IGNORED_LABEL,
        )

    def saliency(self, size: Sequence[int]) -> Tensor:
        """Read the image's saliency (H, W) in [0, 1].

        Args:
            size: Height and width that it must have.

        Raises:
            DataError: if it is missing, unreadable or does not fit.
            ConfigError: if no image was named.
        """
        if self.image_id is None:
            raise ConfigError('SaliencyRefiner: name the image first, by for_image(id)')
        path = Path(self.folder) / f'{self.image_id}{self.suffix}'
        if not path.is_file():
            raise DataError(
                f'{path} is missing: refiner.folder must have a saliency map of every '
                'image, or choose a refiner without saliency'
            )
        try:
            content = path.read_bytes()
            check_claim(content)
            with Image.open(io.BytesIO(content)) as picture:
                mode, values = picture.mode, np.array(picture)
        # decoders raise at will
        except Exception as error:
            raise DataError(
                f'saliency map cannot be read: {path} ({error}); make it again'
            ) from error
        if mode != 'L' or values.shape != tuple(size):
            raise DataError(
                f'{path} is {mode} of {"x".join(map(str, values.shape[::-1]))}, '
                f'expected 8-bit grey (L) of {size[1]}x{size[0]} (width x height)'
            )
        return torch.from_numpy(values).float() / np.iinfo(np.uint8).max
