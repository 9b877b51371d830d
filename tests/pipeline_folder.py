"""The files of a finished pipeline that the report reads, with chosen figures."""

import json
from pathlib import Path

CLASSES = ['background', 'cat']


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_pipeline(folder, *, miou=40.0, data='a', alpha=10.0, classes=CLASSES):
    """Write records, metrics and configs; ``miou`` is the segmentor's."""
    folder = Path(folder)
    for seconds, name in enumerate(
        ('data', 'classifier', 'seeds', 'labels', 'segmentor', 'test'), start=1
    ):
        record = dict(inputs='', output=data, seconds=float(seconds), quality={})
        if name == 'labels':
            record['quality'] = dict(undecided=12.5)
        write_json(folder / f'stages/{name}.json', record)
    values = [70.0, *[None] * (len(classes) - 1)]
    iou = dict(IoU=values)
    protocols = {
        'best': dict(threshold=0.4, mIoU=50.123, classes=iou),
        'gt_free': dict(threshold=0.3, mIoU=45.0, classes=iou),
    }
    curve = dict(classes=classes, protocols=protocols, split='val', num_images=7)
    write_json(folder / 'seeds/seed_curve.json', curve)
    write_json(folder / 'seeds/metrics.json', {'multi-label/mAP': 93.21})
    tested = dict(mIoU=miou, IoU_classwise=dict(zip(classes, [60.0, *values[1:]])))
    write_json(folder / 'test/metrics.json', tested)
    configs = folder / 'configs'
    configs.mkdir()
    (configs / 'classifier.py').write_text(
        f'model = dict(alpha={alpha})\n'
        f'test_dataloader = dict(dataset=dict(data_root={str(folder)!r}))\n'
    )
    (configs / 'segmentor.py').write_text('iters = [1, 2]\n')
    return folder
