"""Samples for the seed metric, as the evaluator hands them over."""

import numpy as np
import torch

from mmwsss.evaluation.metrics import SeedIoUMetric

CLASSES = ('background', 'cat', 'dog', 'cow', 'never')
IGNORE = 255
TAGS = [(0,), (1, 2), (), (0, 1, 2), (2,), (0, 2), (1,)]


def make_sample(index, dtype=torch.float32):
    """An image of its own size with maps on a coarse grid, padded below and right."""
    generator = torch.Generator().manual_seed(index)
    tags, size = TAGS[index % len(TAGS)], (20 + index, 30 - index)
    maps = torch.rand((len(tags), 4, 5), generator=generator).to(dtype)
    gt = torch.randint(0, 4, (1, *size), generator=generator)
    gt[:, 3] = IGNORE
    return dict(
        sample_idx=index,
        img_path=f'/images/{index}.jpg',
        img_shape=(28, 40),
        ori_shape=size,
        gt_sem_seg=dict(data=gt),
        localization=dict(
            data=maps, classes=tags, input_shape=(32, 40), align_corners=False
        ),
    )


def make_metric(**settings):
    metric = SeedIoUMetric(**settings)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def evaluate(metric, samples):
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def read_arrays(folder):
    with np.load(folder / 'seed_histogram.npz') as file:
        return dict(file)
