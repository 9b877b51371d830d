"""Files of predictions, each of which appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mmwsss.apis.inferencer_inputs import InputImage
from mmwsss.utils.atomic import atomic_write_bytes, atomic_write_text, atomic_writer
from mmwsss.utils.errors import DataError
from mmwsss.utils.label_codec import LabelCodec
from mmwsss.visualization.examples import Painter
from mmwsss.visualization.predictions import (
    Prediction,
    draw_prediction,
    prediction_figure,
)

PICTURES, SEEDS, LABELS, SCORES = 'vis', 'seeds', 'labels', 'scores'
"""Folders of what is written."""


def check_names(images: Iterable[InputImage]) -> None:
    """Check that no two images would be written under one name.

    Raises:
        DataError: if so, naming both.
    """
    paths: dict[str, str | None] = {}
    for image in images:
        if image.name in paths:
            raise DataError(
                f'{paths[image.name]} and {image.path} would both be written as '
                f'{image.name}: give the folder that holds both, or write them to '
                'different folders'
            )
        paths[image.name] = image.path


def write_prediction(
    out_dir: str | Path, prediction: Prediction, painter: Painter
) -> None:
    """Write ``vis``, ``seeds``, ``labels`` (PNG) and ``scores`` (JSON) of an image.

    Args:
        out_dir: Folder that gets these four folders; a file is named as the image.
        prediction: Of the image.
        painter: Of the data set's classes.

    Raises:
        ArtefactError: if a file cannot be written.
    """
    out, codec = Path(out_dir), LabelCodec(painter.palette)
    figure = prediction_figure(draw_prediction(painter, prediction))
    with atomic_writer(out / PICTURES / f'{prediction.name}.png') as file:
        figure.savefig(file, format='png')
    for folder, labels in ((SEEDS, prediction.seeds), (LABELS, prediction.label)):
        if labels is not None:
            path = out / folder / f'{prediction.name}.png'
            atomic_write_bytes(path, codec.encode(labels))
    text = json.dumps(prediction.summary(), indent=1) + '\n'
    atomic_write_text(out / SCORES / f'{prediction.name}.json', text)
