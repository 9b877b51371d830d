"""A trained transformer's attention to an image and to a view of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mmwsss.apis.compared_images import ComparedImage
from mmwsss.apis.compared_methods import Method, telling
from mmwsss.apis.inferencer import WSSSInferencer
from mmwsss.apis.inferencer_inputs import InputImage
from mmwsss.functional.views import (
    apply_dihedral,
    inverse_token_order,
    permute_attention,
)
from mmwsss.models.classifiers import ACRClassifier
from mmwsss.utils.errors import ConfigError
from mmwsss.visualization.attention_figure import AttentionPair, view_consistency


def attention_pairs(
    method: Method,
    images: Sequence[ComparedImage],
    *,
    view: str,
    block: int | None = None,
) -> list[AttentionPair]:
    """Compare a method's attention to images and to views of them.

    Args:
        method: An ACR classifier.
        images: What is looked at.
        view: A key of ``DIHEDRAL``.
        block: Which of the transformer's, from 0; None takes the mean over all.

    Raises:
        ConfigError: if it is no ACR classifier or has no such block.
        WSSSError: of an image.
    """
    with telling(method.name):
        return [
            attention_pair(method.inferencer, image, view=view, block=block)
            for image in images
        ]


@torch.no_grad()
def attention_pair(
    inferencer: WSSSInferencer,
    image: ComparedImage,
    *,
    view: str,
    block: int | None = None,
) -> AttentionPair:
    r"""Run the transformer on an image and on a view of what it is given.

    With :math:`\bar A_t`, head-mean attention of block t, and
    :math:`f^{-1}(\bar A'_t)`, that of the view in the image's token order (eq. 12),
    matrices are means over t of the part between patches, and the difference that of
    :math:`|\bar A_t - f^{-1}(\bar A'_t)|` (eq. 5).

    Args:
        inferencer: Of an ACR classifier.
        image: What is looked at.
        view: A key of ``DIHEDRAL``.
        block: As of ``attention_pairs``.

    Raises:
        ConfigError: if it is no ACR classifier or has no such block.
        DataError: if the image cannot be read, or does not fit the patches.
    """
    model = inferencer.model
    if not isinstance(model, ACRClassifier):
        raise ConfigError(
            f'{type(model).__name__} has no attention between patches to compare: '
            'name a config of ACR'
        )
    blocks = _blocks(model.backbone.depth, block)
    (loaded,) = next(inferencer.preprocess([InputImage(image.name, image.path)]))
    batch = inferencer.collate_fn([loaded.data])
    inputs = model.data_preprocessor(batch, False)['inputs']
    grid = model.backbone.grid(inputs)
    index = inverse_token_order(view, grid).to(inputs.device)
    whole = model.attend_pair(
        inputs, apply_dihedral(inputs, view), lambda a: permute_attention(a, index)
    )
    views = replace(
        whole,
        first=whole.first[blocks],
        second=whole.second[blocks],
        restored=whole.restored[blocks],
    )
    activation, affinity = view_consistency(views)
    pixels = torch.from_numpy(loaded.pixels)
    seen = apply_dihedral(pixels.permute(2, 0, 1), view).permute(1, 2, 0)
    return AttentionPair(
        image=loaded.pixels,
        view=seen.contiguous().numpy(),
        patches=views.between_patches(),
        activation=activation,
        affinity=affinity,
    )


def _blocks(depth: int, block: int | None) -> slice:
    if block is None:
        return slice(depth)
    if not 0 <= block < depth:
        raise ConfigError(f'block: expected 0..{depth - 1}, got {block}')
    return slice(block, block + 1)
