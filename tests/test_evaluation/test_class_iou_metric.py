"""Figures of each class against a loop over pixels."""

import json

import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmwsss.evaluation.metrics.class_iou_metric import ClassIoUMetric

CLASSES = ('background', 'cat', 'dog', 'cow')
IGNORED = 255


@pytest.fixture
def samples():
    """Two images; 'cow' is neither labelled nor predicted."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        truth = torch.randint(0, 3, (1, 6, 7), generator=generator)
        truth[0, 0] = IGNORED
        found = torch.randint(0, 3, (1, 6, 7), generator=generator)
        samples.append(dict(pred_sem_seg=dict(data=found), gt_sem_seg=dict(data=truth)))
    return samples


def evaluate(metric, samples):
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def iou_by_loop(samples):
    both, either = [0] * len(CLASSES), [0] * len(CLASSES)
    for sample in samples:
        truth = sample['gt_sem_seg']['data'].flatten().tolist()
        found = sample['pred_sem_seg']['data'].flatten().tolist()
        for t, f in zip(truth, found):
            for c in range(len(CLASSES)):
                if t != IGNORED:
                    both[c] += t == c and f == c
                    either[c] += t == c or f == c
    return [100 * b / e if e else None for b, e in zip(both, either)]


def test_figures_of_each_class(samples):
    figures = evaluate(ClassIoUMetric(), samples)
    expected = iou_by_loop(samples)
    assert list(figures['IoU_classwise']) == list(CLASSES)
    assert figures['IoU_classwise']['cow'] is expected[3] is None
    for name, value in zip(CLASSES[:3], expected):
        assert figures['IoU_classwise'][name] == pytest.approx(value, abs=0.005)
    mean = sum(expected[:3]) / 3
    assert figures['mIoU'] == pytest.approx(mean, abs=0.005)


def test_means_are_mmsegs(samples):
    ours, theirs = (evaluate(kind(), samples) for kind in (ClassIoUMetric, IoUMetric))
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), abs=1e-5)


def test_file_has_what_is_returned(samples, tmp_path):
    path = tmp_path / 'new/figures.json'
    figures = evaluate(ClassIoUMetric(json_file=str(path)), samples)
    assert json.loads(path.read_text()) == figures
    assert [p.name for p in path.parent.iterdir()] == ['figures.json']


def test_predictions_without_masks_are_written_alone(samples, tmp_path):
    metric = ClassIoUMetric(format_only=True, output_dir=str(tmp_path / 'out'))
    for i, sample in enumerate(samples):
        sample['img_path'] = f'{i}.jpg'
        sample['gt_sem_seg'] = None
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    assert metric.compute_metrics([]) == {}
    assert len(list((tmp_path / 'out').iterdir())) == 2


def test_mistyped_setting_is_refused():
    with pytest.raises(TypeError, match='jsonfile'):
        ClassIoUMetric(jsonfile='a')
