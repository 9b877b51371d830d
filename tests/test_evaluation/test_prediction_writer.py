"""Predictions as files that any program reads."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.evaluation.metrics.prediction_writer import PredictionWriter
from mmwsss.utils.errors import DataError

PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
LABELS = [[0, 1, 2], [2, 1, 0]]


def sample(path, labels=LABELS):
    return dict(img_path=path, pred_sem_seg=dict(data=torch.tensor([labels])))


def writer(folder, root='photos'):
    metric = PredictionWriter(out_dir=str(folder), img_root=root)
    metric.dataset_meta = dict(palette=PALETTE)
    return metric


def test_files_lie_as_the_images_do(tmp_path):
    metric = writer(tmp_path)
    paths = ['photos/a/b c.jpg', 'photos/d/b c.jpg', 'photos/ü.webp']
    metric.process({}, [sample(path) for path in paths])
    assert metric.evaluate(3) == {'predictions/written': 3}
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*.png'))
    assert found == ['a/b c.png', 'd/b c.png', 'ü.png']
    image = Image.open(tmp_path / 'a/b c.png')
    assert np.array(image).tolist() == LABELS
    assert image.getpalette()[:9] == sum(PALETTE, [])


def test_images_elsewhere(tmp_path):
    with pytest.raises(DataError, match=r'other/a.jpg is not in photos; set img_root'):
        writer(tmp_path).process({}, [sample('other/a.jpg')])
