"""Threshold search over background scores, from the inputs of a reference file."""

import numpy as np
import torch

from mmwsss.functional.seeds import (
    class_rates,
    mean_over_occurring,
    seed_histogram,
    threshold_curve,
)

INPUT_PREFIXES = ('image/', 'num_', 'thresholds')
IGNORE_INDEX = 255
PERCENT = 100


def compute(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the curve, its best threshold and the rates there.

    Args:
        inputs: ``num_images``, ``num_classes``, ``thresholds`` and of each image
            ``classes``, ``score`` and ``gt``.

    Returns:
        The arrays ``official/*`` and ``derived/*`` of a ``seed_*.npz`` file.

    Raises:
        KeyError: if an input is absent.
        ValueError: if inputs contradict each other.
    """
    thresholds = inputs['thresholds']
    grid = torch.from_numpy(thresholds.astype(np.float32))
    histogram = sum(
        _histogram(inputs, f'image/{index:02}', grid)
        for index in range(int(inputs['num_images']))
    )
    curve = threshold_curve(histogram)
    rates = class_rates(curve)
    miou = PERCENT * rates.iou.mean(1)
    best = int(miou.argmax())
    arrays = {
        'official/tp': curve.tp,
        'official/predicted': curve.predicted,
        'official/labelled': curve.labelled,
        'official/iou': PERCENT * rates.iou,
        'official/miou': miou,
        'official/best_miou': miou[best],
        'official/best_iou': PERCENT * rates.iou[best],
        'official/best_fp_share': rates.fp_share[best],
        'official/best_fn_share': rates.fn_share[best],
        'derived/miou_present': PERCENT * mean_over_occurring(rates.iou, curve),
        'derived/best_precision': rates.precision[best],
        'derived/best_recall': rates.recall[best],
    }
    choice = {
        'official/best_index': np.array(best),
        'official/best_threshold': thresholds[best],
    }
    return choice | {key: array.numpy() for key, array in arrays.items()}


def _histogram(
    inputs: dict[str, np.ndarray], image: str, grid: torch.Tensor
) -> torch.Tensor:
    return seed_histogram(
        torch.from_numpy(inputs[f'{image}/score']),
        tuple(inputs[f'{image}/classes'].tolist()),
        torch.from_numpy(inputs[f'{image}/gt']),
        grid,
        num_classes=int(inputs['num_classes']),
        ignore_index=IGNORE_INDEX,
    )
