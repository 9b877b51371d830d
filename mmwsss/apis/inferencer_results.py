"""From a network's data samples to predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import Tensor

from mmwsss.apis.inferencer_affinity import affinity_of_point
from mmwsss.apis.inferencer_inputs import InputImage, LoadedImage
from mmwsss.functional.localization import maps_to_image
from mmwsss.functional.seeds import label_map
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.models.classifiers.base import WSSSClassifier
from mmwsss.refiners import Refiner
from mmwsss.structures import WSSSDataSample
from mmwsss.structures.seed_record import SeedRecord
from mmwsss.utils.errors import CheckpointError
from mmwsss.visualization.predictions import Prediction


def prediction_of_segmentor(
    image: LoadedImage, sample: SegDataSample, classes: tuple[str, ...]
) -> Prediction:
    """Return a segmentor's label with the classes in it.

    Args:
        image: What it saw.
        sample: What it made of it.
        classes: Names, the background first.
    """
    label = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
    present = [index for index in np.unique(label).tolist() if index]
    return Prediction(
        name=image.source.name,
        path=image.source.path,
        image=image.pixels,
        tags=tuple(classes[index] for index in present),
        tags_given=False,
        scores={},
        localization=None,
        seeds=None,
        label=label,
        sample=sample,
    )


def prediction_of_classifier(
    image: LoadedImage,
    sample: WSSSDataSample,
    inputs: Tensor,
    *,
    model: WSSSClassifier,
    classes: tuple[str, ...],
    refiner: Refiner,
) -> Prediction:
    """Return a classifier's maps, and the labels made of them.

    Maps are rounded as seeds are when they are stored, so that labels are those of
    ``tools/generate_pseudo_labels.py``.

    Args:
        image: What the classifier saw.
        sample: What it made of it.
        inputs: (3, H, W), what it was given.
        model: The classifier.
        classes: Names, the background first.
        refiner: From maps to the pseudo label.

    Raises:
        CheckpointError: if a map is not finite.
        DataError: if a point lies outside the image.
    """
    source, names = image.source, classes[1:]
    if not bool(sample.localization.data.isfinite().all()):
        raise CheckpointError(
            f'the maps of {source.path or source.name} are not finite, as those of a '
            'training that diverged: use an earlier checkpoint'
        )
    record = SeedRecord.from_sample(sample)
    maps = maps_to_image(record.tensor().to(inputs.device), **record.geometry())
    own = refiner.for_image(source.name)
    label = own(maps.cpu() if own.on_cpu else maps, image.pixels, record.classes)
    seeds = label_map(maps, record.classes, model.background_threshold)
    return Prediction(
        name=source.name,
        path=source.path,
        image=image.pixels,
        tags=tuple(names[index] for index in record.classes),
        tags_given=source.tags is not None,
        scores=dict(zip(names, sample.pred_score.tolist())),
        localization=maps.cpu().numpy(),
        seeds=seeds.cpu().numpy().astype(np.uint8),
        label=label,
        point=source.point,
        affinity=_affinity(source, sample, inputs, model),
        sample=sample,
    )


def _affinity(
    source: InputImage, sample: Any, inputs: Tensor, model: WSSSClassifier
) -> NDArray[np.float32] | None:
    if source.point is None or not isinstance(model, ACRClassifier):
        return None
    found = affinity_of_point(
        model.backbone,
        inputs[None],
        sample,
        source.point,
        align_corners=model.align_corners,
    )
    return found.cpu().numpy()
