"""RCA's operations on the inputs of a reference file, by the public code."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.functional.accumulation import accumulate
from mmwsss.functional.aggregation import (
    aggregate,
    prototype_affinity,
    released_affinity,
    weighted_context,
)
from mmwsss.functional.clustering import kmeans
from mmwsss.functional.contrast import average_over_images, info_nce, mixup_nce
from mmwsss.functional.memory import write_regions_
from mmwsss.functional.regions import masked_average, region_masks
from mmwsss.functional.vectors import unit

INPUT_PREFIXES = (
    'input/',
    'const/',
    'mixup/omega',
    'mixup/partner_image',
    'mixup/partner_class',
    'clamp/query',
    'clamp/bank',
    'clamp/class',
    'aggregation/weight/',
    'oaa/map',
    'oaa/epoch',
    'oaa/total_epochs',
    'kmeans/data',
)

# Setting that every rca_*.npz shares and none stores.
ACCUMULATION_GATE = 0.1

Inputs = dict[str, Tensor]


class Regions(NamedTuple):
    """The present classes' regions, images ascending, then classes.

    Attributes:
        pairs: (R, 2) int64, image and class.
        masks: (B, C, H, W) bool, tagged classes only.
        query: (B, D, H, W), source of the query regions.
    """

    pairs: Tensor
    masks: Tensor
    query: Tensor

    def features(self, source: Tensor) -> Tensor:
        """Average a (B, D, H, W) feature over each region, (R, D)."""
        means, _ = masked_average(source, self.masks)
        return means[tuple(self.pairs.T)]


def compute(
    inputs: dict[str, np.ndarray], dtype: torch.dtype = torch.float64
) -> dict[str, np.ndarray]:
    """Compute regions, contrast, memory, aggregation, accumulation and clusters.

    Args:
        inputs: The arrays of ``INPUT_PREFIXES``.
        dtype: Format of the arithmetic; accumulated maps stay in the inputs' own.

    Returns:
        The other arrays of a ``rca_*.npz`` file under its keys, without what the
        release computes by its errors: its cumulative masks and its clamp. Released
        arrays come in float32.

    Raises:
        KeyError: if an input is absent.
        ValueError: if inputs contradict each other.
    """
    given = {key: torch.from_numpy(array) for key, array in inputs.items()}
    cast = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in given.items()
    }
    regions = find_regions(cast)
    arrays = {'region/index': regions.pairs}
    arrays |= region_arrays(regions)
    arrays |= contrast(cast, regions)
    arrays |= mixup(cast, regions)
    arrays |= memory(cast, regions)
    arrays |= aggregation(cast) | released_aggregation(cast)
    arrays |= accumulation(given) | clusters(cast)
    return {key: _as_stored(key, value) for key, value in arrays.items()}


def _as_stored(key: str, value: Tensor) -> np.ndarray:
    """Released arrays are float32, save a sum that scikit-learn keeps in float64."""
    if value.dtype == torch.bool:
        value = value.to(torch.uint8)
    released = key.startswith('official/') and key != 'official/kmeans/inertia'
    if released and value.is_floating_point():
        value = value.float()
    return value.detach().numpy()


def find_regions(inputs: Inputs) -> Regions:
    """Find the region of each tag: where its softmax exceeds the mean."""
    tags = inputs['input/label'] > 0
    masks = region_masks(inputs['input/cam'].softmax(1)) & tags[:, :, None, None]
    query = inputs['input/query_feature'].requires_grad_()
    return Regions(tags.nonzero(), masks, query)


def region_arrays(regions: Regions) -> Inputs:
    """Masks and mean features."""
    feature = regions.features(regions.query)
    return {
        'official/region/mask': regions.masks,
        'official/region/feature': feature,
        'paper/region/feature': feature,
    }


def _every_slot(bank: Tensor) -> Tensor:
    return torch.ones(bank.shape[:2], dtype=torch.bool)


def contrast(inputs: Inputs, regions: Regions) -> Inputs:
    """InfoNCE of each region with its gradients, and the case that a clamp breaks."""
    temperature = float(inputs['const/temperature'])
    images, classes = regions.pairs.T
    bank = inputs['input/bank']
    losses = info_nce(
        regions.features(regions.query),
        classes,
        bank,
        _every_slot(bank),
        temperature=temperature,
    )
    gradients = [
        torch.autograd.grad(loss, regions.query, retain_graph=True)[0][image]
        for image, loss in zip(images, losses)
    ]
    hard = info_nce(
        inputs['clamp/query'][None],
        inputs['clamp/class'][None],
        inputs['clamp/bank'],
        _every_slot(inputs['clamp/bank']),
        temperature=temperature,
    )
    both = {'nce/loss': losses, 'nce/grad_query_feature': torch.stack(gradients)}
    return _both(both) | {'paper/clamp/loss': hard[0]}


def _both(arrays: Inputs) -> Inputs:
    """Name arrays that the paper and the release agree on after both."""
    return {
        f'{origin}/{key}': value
        for origin in ('official', 'paper')
        for key, value in arrays.items()
    }


def mixup(inputs: Inputs, regions: Regions) -> Inputs:
    """Contrast of mixed regions, for each draw of partners."""
    images, classes = regions.pairs.T
    count = len(inputs['input/label'])
    partners = torch.stack(
        (inputs['mixup/partner_image'], inputs['mixup/partner_class']), -1
    )
    per_region: list[Tensor] = []
    gradients: list[Tensor] = []
    features = regions.features(regions.query)
    for omega, partner in zip(inputs['mixup/omega'], partners):
        row = (regions.pairs == partner[:, None]).all(2).long().argmax(1)
        losses = mixup_nce(
            features,
            classes,
            features[row],
            partner[:, 1],
            omega,
            inputs['input/bank'],
            _every_slot(inputs['input/bank']),
            temperature=float(inputs['const/temperature']),
        )
        total = _over_images(losses, images, count, 'sum')
        gradients += torch.autograd.grad(total, regions.query, retain_graph=True)
        per_region.append(losses)
    sums, means = (
        torch.stack([_over_images(row, images, count, how) for row in per_region])
        for how in ('sum', 'mean')
    )
    return _both({'mixup/grad_query_feature': torch.stack(gradients)}) | {
        'mixup/partner_same_class': partners[..., 1] == classes,
        'official/mixup/loss': sums,
        'paper/mixup/loss_region': torch.stack(per_region),
        'paper/mixup/loss_sum_over_images': sums,
        'paper/mixup/loss_mean_over_images': means,
    }


def _over_images(losses: Tensor, images: Tensor, count: int, how: str) -> Tensor:
    return average_over_images(losses, images, num_images=count, reduction=how)


def memory(inputs: Inputs, regions: Regions) -> Inputs:
    """The memory after the regions of confident classes are written."""
    scores = inputs['input/cam_aggregated'].mean((2, 3)).sigmoid()
    images, classes = regions.pairs.T
    passed = scores[images, classes] > inputs['const/score_gate']
    index, own = regions.pairs[passed], classes[passed]
    rows = regions.features(inputs['input/feature'])[passed]
    bank, pointer = inputs['input/bank'].clone(), inputs['input/pointer'].clone()
    earlier = (own[:, None] == own).tril(-1).sum(1)
    slot = (pointer[own] + earlier) % bank.shape[1]
    write_regions_(
        bank,
        pointer,
        torch.full_like(pointer, bank.shape[1]),
        rows,
        own,
        momentum=float(inputs['const/momentum']),
    )
    return {
        'memory/score': scores,
        'memory/writes': torch.cat((index, slot[:, None]), 1),
        'paper/memory/bank': bank,
        'paper/memory/pointer': pointer,
        'paper/memory/region': rows,
    }


def _rows(feature: Tensor) -> Tensor:
    """Pixels row-major, (B, N, D)."""
    return feature.flatten(2).transpose(1, 2)


def _projections(inputs: Inputs) -> Callable[[str, Tensor], Tensor]:
    """Return what applies a layer of the release, named as in the file, to rows."""

    def apply(name: str, rows: Tensor) -> Tensor:
        weight = inputs[f'aggregation/weight/{name}.weight'].flatten(1)
        return F.linear(rows, weight, inputs[f'aggregation/weight/{name}.bias'])

    return apply


def aggregation(inputs: Inputs) -> Inputs:
    """Context from the prototypes as in the paper, plain and behind projections."""
    feature, prototypes = inputs['input/feature'], inputs['input/prototypes']
    ready = torch.ones(len(prototypes), dtype=torch.bool)
    every = ready.repeat_interleave(prototypes.shape[1])
    rows, size = prototypes.flatten(0, 1), (feature.shape[2], feature.shape[3])
    context = aggregate(feature, prototypes, ready)
    project = _projections(inputs)
    affinity = prototype_affinity(
        project('Q', _rows(feature)), project('K', rows), every
    )
    return {
        'paper/aggregation/affinity': prototype_affinity(_rows(feature), rows, every),
        'paper/aggregation/context': context,
        'paper/aggregation/concat': torch.cat((feature, context), 1),
        'paper/aggregation_projected/affinity': affinity,
        'paper/aggregation_projected/context': weighted_context(
            affinity, project('V', rows), size
        ),
    }


def released_aggregation(inputs: Inputs) -> Inputs:
    """Context and output of the release's learned layers."""
    feature, prototypes = inputs['input/feature'], inputs['input/prototypes']
    rows, size = prototypes.flatten(0, 1), (feature.shape[2], feature.shape[3])
    project = _projections(inputs)
    affinity = released_affinity(
        project('Q', _rows(feature)),
        project('K', rows),
        num_classes=prototypes.shape[0],
        num_prototypes=prototypes.shape[1],
    )
    context = weighted_context(affinity, project('V', rows), size)
    both = torch.cat((_rows(feature), project('aggre', _rows(context))), 2)
    output = project('concat_project', both).transpose(1, 2).unflatten(2, size)
    return {
        'derived/aggregation/affinity': affinity,
        'official/aggregation/context': context,
        'official/aggregation/output': output,
    }


def accumulation(inputs: Inputs) -> Inputs:
    """Maps stored after each visit, of the tagged classes of each image."""
    maps, tags = inputs['oaa/map'], inputs['input/label'] > 0
    scores = maps.double().mean((3, 4)).sigmoid()
    final = int(inputs['oaa/total_epochs']) - 1
    stored = torch.zeros(maps.shape[1:], dtype=torch.uint8)
    exists = torch.zeros_like(tags)
    planes, found = [], []
    for epoch, visit, score in zip(inputs['oaa/epoch'], maps, scores):
        stored, exists = stored.clone(), exists.clone()
        stored[tags], exists[tags] = accumulate(
            stored[tags],
            exists[tags],
            visit[tags],
            score[tags],
            gate=ACCUMULATION_GATE,
            last=int(epoch) == final,
        )
        planes.append(stored)
        found.append(exists)
    return {
        'oaa/score': scores,
        'official/oaa/accumulated': torch.stack(planes),
        'official/oaa/exists': torch.stack(found),
    }


def clusters(inputs: Inputs) -> Inputs:
    """Centres of one class's rows, Euclidean in lexicographic order and spherical."""
    rows, size = inputs['kmeans/data'][None], inputs['input/prototypes'].shape[1]
    plain, spherical = (
        kmeans(
            rows,
            _every_slot(rows),
            num_clusters=size,
            generator=torch.Generator().manual_seed(0),
            spherical=directions,
        )
        for directions in (False, True)
    )
    order = sorted(range(size), key=lambda row: plain.centres[0, row].tolist())
    centres = plain.centres[0, order]
    same = (unit(centres) @ spherical.centres[0].T).argmax(1)
    return {
        'official/kmeans/centres': centres,
        'official/kmeans/inertia': plain.inertia[0],
        'derived/kmeans/spherical_centres': spherical.centres[0, same],
    }
