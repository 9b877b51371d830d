"""Inference on own images, in the form of MMEngine's inferencers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.registry import DefaultScope
from mmengine.runner.amp import autocast
from torch import nn

from mmwsss.apis.inferencer_files import check_names, write_prediction
from mmwsss.apis.inferencer_inputs import (
    InputImage,
    Inputs,
    LoadedImage,
    Pixels,
    Points,
    Tags,
    batches_of_one_size,
    gather_images,
)
from mmwsss.apis.inferencer_models import (
    load_model,
    painter_of,
    pipeline_of,
    read_model_config,
    usable_device,
)
from mmwsss.apis.inferencer_results import (
    prediction_of_classifier,
    prediction_of_segmentor,
)
from mmwsss.apis.pseudo_labels import choose_refiner
from mmwsss.apis.seeds import half_precision
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.models.classifiers.base import WSSSClassifier
from mmwsss.refiners import Refiner, build_refiner
from mmwsss.utils.checkpoint import find_checkpoint
from mmwsss.utils.errors import ConfigError
from mmwsss.utils.progress import track
from mmwsss.visualization.predictions import (
    Prediction,
    draw_prediction,
    figure_pixels,
    prediction_figure,
)

RefinerChoice = str | Mapping[str, Any] | None


class WSSSInferencer(BaseInferencer):
    """Tags, scores, localization maps, seeds and pseudo labels of own images.

    Works with every classifier of mmwsss and with segmentors of mmseg, of which it
    gives the predicted label alone.

    Args:
        model: A config: its file, its name in the package (``acr/vit_hybrid_voc``), or
            itself.
        weights: The checkpoint's file, or the work directory of its training.
        device: Where the network runs; None takes a GPU if there is one.
        classes: Names of the classes, the background first; None takes them from the
            checkpoint, else from the config's data set.
        score_threshold: Probability from which an image without given tags has a
            class; None is the config's ``model.tag_threshold``.
        background_threshold: Score of the background in the seeds; None is the
            config's ``model.background_threshold``. Pseudo labels have the refiner's.
        show_progress: Whether progress is shown, on terminals alone.

    Raises:
        ConfigError: if there is no such config or device, the model is neither a
            classifier nor a segmentor, or a value is not usable.
        CheckpointError: if the checkpoint cannot be read or belongs to another model.
    """

    def __init__(
        self,
        model: str | Path | Config | Mapping[str, Any],
        weights: str | Path,
        device: str | None = None,
        *,
        classes: Sequence[str] | None = None,
        score_threshold: float | None = None,
        background_threshold: float | None = None,
        show_progress: bool = True,
    ) -> None:
        config = read_model_config(model)
        checkpoint = str(find_checkpoint(weights))
        scope = config.get('default_scope') or 'mmwsss'
        with DefaultScope.overwrite_default_scope(scope):
            super().__init__(
                config, checkpoint, usable_device(device), scope, show_progress
            )
            self.painter = painter_of(self.model, config, checkpoint, classes)
        self.is_classifier = isinstance(self.model, WSSSClassifier)
        if self.is_classifier:
            self._set_up(score_threshold, background_threshold)

    def _set_up(self, score: float | None, background: float | None) -> None:
        chosen = dict(score_threshold=score, background_threshold=background)
        for name, value in chosen.items():
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f'{name}: expected a number in [0, 1], got {value}')
        if score is not None:
            self.model.tag_threshold = score
        if background is not None:
            self.model.background_threshold = background
        # given tags where there are any; planes of all classes are not asked for
        self.model.tags, self.model.with_seg_logits = 'auto', False

    def _init_model(
        self, cfg: Config, weights: str | None, device: str = 'cpu'
    ) -> nn.Module:
        return load_model(cfg, str(weights), device)

    def _init_pipeline(self, cfg: Config) -> Compose:
        return pipeline_of(cfg)

    def _init_collate(self, cfg: Config) -> Callable:
        # the parent's would look in a registry that our scope has no part in, and warn
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> None:
        """Pictures are drawn without mmengine's visualizer, whose names are global."""

    def __call__(
        self,
        inputs: Inputs,
        return_datasamples: bool = False,
        batch_size: int = 1,
        *,
        tags: Tags = None,
        point: Points = None,
        refiner: RefinerChoice = None,
        return_vis: bool = False,
        out_dir: str | Path | None = None,
    ) -> dict[str, list]:
        """Look at images.

        Args:
            inputs: An image or several: paths, folders, ``file://`` URLs, arrays
                (H, W, 3) uint8 in BGR.
            return_datasamples: Whether predictions are the network's data samples.
            batch_size: Images of one size that go through the network at once.
            tags: Names of the classes to localize, for all images or one entry an
                image; None takes those recognized.
            point: (column, row) in pixels whose affinity is asked for, for all images
                or one entry an image; of ACR alone.
            refiner: Name or settings of what makes the pseudo label, in place of the
                config's.
            return_vis: Whether pictures are returned.
            out_dir: Folder that gets ``vis``, ``seeds``, ``labels`` and ``scores``.

        Returns:
            ``predictions``, one dict (the fields of ``Prediction``) or data sample an
            image, and ``visualization``, (H, W, 3) RGB an image if asked for.

        Raises:
            WSSSError: of the image, the class or the setting that does not fit.
        """
        images = gather_images(inputs, tags=tags, point=point)
        if out_dir:
            check_names(images)
        found, pictures = [], []
        for prediction in self.predict(images, batch_size=batch_size, refiner=refiner):
            found.append(prediction)
            pictures += self.visualize(
                [prediction], return_vis=return_vis, out_dir=out_dir
            )
        return self.postprocess(found, pictures, return_datasamples)

    def predict(
        self,
        images: Sequence[InputImage],
        *,
        batch_size: int = 1,
        refiner: RefinerChoice = None,
    ) -> Iterator[Prediction]:
        """Yield the prediction of each image; nothing of it is kept.

        Args:
            images: Of ``gather_images``.
            batch_size: As of a call.
            refiner: As of a call.

        Raises:
            WSSSError: as of a call.
        """
        if batch_size < 1:
            raise ConfigError(f'batch_size: expected >= 1, got {batch_size}')
        self._check_possible(images, refiner)
        made = self._refiner(refiner) if self.is_classifier else None
        batches = self.preprocess(images, batch_size)
        found: Iterator[Prediction] = (
            one for batch in batches for one in self.forward(batch, refiner=made)
        )
        if self.show_progress:
            found = track(found, 'Images', total=len(images))
        yield from found

    def _check_possible(
        self, images: Sequence[InputImage], refiner: RefinerChoice
    ) -> None:
        asked = dict(
            tags=any(image.tags is not None for image in images),
            point=any(image.point is not None for image in images),
            refiner=refiner is not None,
        )
        if not self.is_classifier and any(asked.values()):
            name = next(name for name, is_asked in asked.items() if is_asked)
            raise ConfigError(
                f'{name} is for classifiers; {type(self.model).__name__} is a '
                'segmentor, which labels an image without it: leave it out'
            )
        if asked['point'] and not isinstance(self.model, ACRClassifier):
            raise ConfigError(
                'point asks for the affinity that attention learns, which '
                f'{type(self.model).__name__} has none of: leave it out, or use ACR'
            )
        for image in images:
            self._indices(image)

    def _refiner(self, choice: RefinerChoice) -> Refiner:
        if choice is None or isinstance(choice, str):
            return choose_refiner(self.cfg, name=choice)
        return build_refiner(choice)

    def _indices(self, image: InputImage) -> list[int]:
        known = list(self.painter.classes[1:])
        for tag in image.tags or ():
            if tag not in known:
                raise ConfigError(
                    f'no class {tag!r} (given as a tag); the classes are '
                    f'{", ".join(known)}'
                )
        return sorted({known.index(tag) for tag in image.tags or ()})

    def preprocess(
        self, inputs: Iterable[InputImage], batch_size: int = 1
    ) -> Iterator[list[LoadedImage]]:
        """Read images and gather those in a row that reach the network in one size.

        Images of other sizes would be padded, and what is found in them would depend
        on their neighbours.

        Raises:
            DataError: if an image cannot be read.
        """
        yield from batches_of_one_size(map(self._load, inputs), batch_size)

    def _load(self, source: InputImage) -> LoadedImage:
        pixels = source.pixels()
        size = pixels.shape[:2]
        results: dict[str, Any] = dict(img=pixels, img_shape=size, ori_shape=size)
        if source.path is not None:
            results['img_path'] = source.path
        if source.tags is not None:
            results['gt_label'] = self._indices(source)
        image = np.ascontiguousarray(pixels[..., ::-1])
        return LoadedImage(source, image, self.pipeline(results))

    @torch.no_grad()
    def forward(
        self, inputs: list[LoadedImage], *, refiner: Refiner | None = None
    ) -> list[Prediction]:
        """Run the network on a batch, then the refiner on each of its images.

        Raises:
            CheckpointError: if a map is not finite.
            DataError: if a point lies outside its image.
        """
        batch = self.collate_fn([image.data for image in inputs])
        kind = next(self.model.parameters()).device.type
        with autocast(device_type=kind, enabled=half_precision(self.cfg)):
            data = self.model.data_preprocessor(batch, False)
            samples = self.model(**data, mode='predict')
        classes = tuple(self.painter.classes)
        if refiner is None:
            pairs = zip(inputs, samples)
            return [prediction_of_segmentor(*pair, classes) for pair in pairs]
        made = partial(
            prediction_of_classifier,
            model=self.model,
            classes=classes,
            refiner=refiner,
        )
        return [made(*parts) for parts in zip(inputs, samples, data['inputs'])]

    def visualize(
        self,
        preds: Sequence[Prediction],
        *,
        return_vis: bool = False,
        out_dir: str | Path | None = None,
    ) -> list[Pixels]:
        """Draw predictions: return the pictures, write them, or both.

        Raises:
            ArtefactError: if a file cannot be written.
        """
        pictures = []
        for prediction in preds:
            if out_dir:
                write_prediction(out_dir, prediction, self.painter)
            if return_vis:
                example = draw_prediction(self.painter, prediction)
                pictures.append(figure_pixels(prediction_figure(example)))
        return pictures

    def postprocess(
        self,
        preds: Sequence[Prediction],
        visualization: list[Pixels],
        return_datasamples: bool = False,
    ) -> dict[str, list]:
        """Pack what a call returns."""
        found = [p.sample if return_datasamples else p.as_dict() for p in preds]
        return dict(predictions=found, visualization=visualization)
