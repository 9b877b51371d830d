"""The seed metric's text, files and picture."""

import json
import os

import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from PIL import Image
from seed_samples import CLASSES, evaluate, make_metric, make_sample, read_arrays

from mmwsss.utils.errors import ArtefactError


def test_fewer_images_than_the_data_set_are_noticed(caplog):
    logger = MMLogger.get_instance('seed_metric_count')
    logger.addHandler(caplog.handler)
    metric = make_metric()
    metric.process({}, [make_sample(0)])
    metric.evaluate(3)
    assert 'SeedIoUMetric: 1 of 3 images' in caplog.text


def test_report_states_split_size_and_supervision(caplog):
    logger = MMLogger.get_instance('seed_metric_report')
    logger.addHandler(caplog.handler)
    samples = [make_sample(index) for index in range(2)]
    evaluate(make_metric(split='val.txt', extra_supervision='saliency'), samples)
    # one row of each mask is ignored
    judged, ignored = 20 * 30 + 21 * 29 - 30 - 29, 30 + 29
    head = f'split val.txt, 2 images, {judged} pixels judged, {ignored} ignored'
    assert f'{head}, extra supervision: saliency' in caplog.text
    caplog.clear()
    evaluate(make_metric(), samples)
    assert 'split not stated' in caplog.text
    assert 'extra supervision: none' in caplog.text
    (never,) = (line for line in caplog.text.splitlines() if ' never ' in line)
    cells = [cell.strip() for cell in never.split('|')[1:-1]]
    assert cells == ['never', '0.00', '-', '-', '0.00', '0.00']


def test_files_hold_the_scalars_the_curve_and_the_histogram(tmp_path):
    samples = [make_sample(index) for index in range(3)]
    folder = tmp_path / 'new' / 'seeds'
    metric = make_metric(out_dir=str(folder), fixed_threshold=0.4, split='val')
    scalars = evaluate(metric, samples)
    names = {'seed_curve.png', 'seed_curve.json', 'seed_histogram.npz'}
    assert set(os.listdir(folder)) == names
    record = json.loads((folder / 'seed_curve.json').read_text())
    assert (record['split'], record['extra_supervision']) == ('val', None)
    assert record['num_images'] == 3
    for protocol in ('best', 'fixed', 'gt_free'):
        entry = record['protocols'][protocol]
        step = record['thresholds'].index(entry['threshold'])
        value = scalars[f'seed/mIoU_{protocol}']
        assert entry['mIoU'] == record['curves']['mIoU'][step] == value
        assert np.mean(entry['classes']['IoU']) == pytest.approx(value)
        assert entry['classes']['recall'][-1] is None
    arrays = read_arrays(folder)
    assert arrays['classes'].tolist() == list(CLASSES)
    assert arrays['histogram'].sum() == record['num_pixels'] + record['num_ignored']
    with Image.open(folder / 'seed_curve.png') as picture:
        assert picture.size == (700, 450)


def test_out_dir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    metric = make_metric(out_dir=str(tmp_path / 'file' / 'seeds'))
    with pytest.raises(ArtefactError, match='seed_curve.json'):
        evaluate(metric, [make_sample(0)])


def test_running_visualizer_gets_the_curve(tmp_path):
    visualizer = Visualizer.get_instance(
        'seed_metric_curve',
        vis_backends=[dict(type='LocalVisBackend')],
        save_dir=str(tmp_path),
    )
    evaluate(make_metric(), [make_sample(0)])
    visualizer.close()
    (path,) = tmp_path.rglob('seed_curve_*.png')
    with Image.open(path) as picture:
        # the axes' frame is dark on a white page
        pixels = np.asarray(picture.convert('L'))
    assert pixels.shape == (450, 700)
    assert pixels[0].min() == 255
    assert pixels.min() < 50
