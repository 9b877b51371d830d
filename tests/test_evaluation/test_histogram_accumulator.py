"""Histograms summed over images and processes, each image once."""

import json

import numpy as np
import pytest
import torch
import torch.multiprocessing
from mmengine.dataset import DefaultSampler
from seed_samples import evaluate, make_metric, make_sample, read_arrays
from torch import distributed

from mmwsss.evaluation.histogram_accumulator import HistogramAccumulator
from mmwsss.utils.errors import DataError


def run_rank(rank, world_size, folder, count):
    """One process: its share of the images as mmengine's sampler deals them."""
    distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/rendezvous',
        rank=rank,
        world_size=world_size,
    )
    share = list(DefaultSampler(range(count), shuffle=False))
    metric = make_metric(out_dir=f'{folder}/out')
    record = dict(share=share, scalars=evaluate_share(metric, share, count))
    # a data set of one image: every process holds it, as its last
    record['single'] = evaluate_share(make_metric(), [0], 1)
    try:
        evaluate_share(metric, [0, 1 + rank], 3)
    except DataError as error:
        record['error'] = str(error)
    with open(f'{folder}/{rank}.json', 'w') as file:
        json.dump(record, file)
    distributed.destroy_process_group()


def evaluate_share(metric, share, count):
    for index in share:
        metric.process({}, [make_sample(index)])
    return metric.evaluate(count)


def test_two_processes_equal_one_to_the_last_integer(tmp_path):
    count = 7
    torch.multiprocessing.spawn(run_rank, (2, str(tmp_path), count), nprocs=2)
    alone = make_metric(out_dir=str(tmp_path / 'alone'))
    expected = evaluate(alone, [make_sample(index) for index in range(count)])
    records = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)]
    assert [record['share'] for record in records] == [[0, 2, 4, 6], [1, 3, 5, 0]]
    got, want = read_arrays(tmp_path / 'out'), read_arrays(tmp_path / 'alone')
    assert want['num_images'] == count
    pixels = sum((20 + index) * (30 - index) for index in range(count))
    assert want['histogram'].sum() == pixels
    for key in want:
        np.testing.assert_array_equal(got[key], want[key], key)
    single = evaluate(make_metric(), [make_sample(0)])
    for record in records:
        assert record['scalars'] == expected
        assert record['single'] == single
        assert '/images/0.jpg was evaluated more than once' in record['error']


def test_image_seen_twice_by_one_process_is_refused():
    metric = make_metric()
    for index in (0, 1):
        metric.process({}, [make_sample(index)])
    with pytest.raises(DataError, match='/images/0.jpg was evaluated more than once'):
        metric.process({}, [make_sample(0)])


def test_accumulator_without_images_is_empty():
    total, count = HistogramAccumulator((2, 3)).reduce()
    assert total.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert count == 0


def test_accumulator_leaves_the_histograms_it_was_given_alone():
    accumulator = HistogramAccumulator((2,))
    given = [torch.tensor([1, 2]), torch.tensor([3, 4])]
    accumulator.add((0, None), given[0])
    accumulator.add((0, 'other.jpg'), given[1])
    total, count = accumulator.reduce()
    assert (total.tolist(), count) == ([4, 6], 2)
    assert [histogram.tolist() for histogram in given] == [[1, 2], [3, 4]]
