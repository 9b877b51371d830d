"""Every segmentation config trains and is tested by mmseg's tools and by ours.

As far as a small machine can: on images of 40x48 pixels, crops of 33, with narrow
networks. Config files and tools are as they are.
"""

import gc

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from PIL import Image
from segmentation_place import (
    MMSEG_TOOLS,
    OUR_TOOLS,
    SEGMENTORS,
    as_options,
    decided_checkpoint,
    figures_of,
    narrow_resnet38,
    read_split,
    run_script,
    small_config,
    small_options,
    write_coco,
    write_embedded,
    write_voc,
)
from tiny_run import ROOT, without_slow_logging
from torch.nn.functional import interpolate as resize

FIGURES = ('mIoU', 'mAcc', 'aAcc')
CRF = ROOT / 'configs/segmentation/deeplabv2_r101_voc_acr_crf.py'


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A working directory where all configs find their data unchanged."""
    place = tmp_path_factory.mktemp('place')
    write_voc(place)
    write_coco(place)
    write_embedded(place, train=12, val=1, test=2)
    # mmengine collects garbage for each data set, among all that the imports made
    gc.freeze()
    yield place
    gc.unfreeze()


@pytest.fixture(autouse=True)
def quiet(monkeypatch, place):
    without_slow_logging(monkeypatch)
    narrow_resnet38(monkeypatch)
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(place)


def options_of(path, work_dir):
    """Name the run after its folder: mmengine keeps loggers by name."""
    own = {'experiment_name': work_dir.name}
    if path.stem.endswith('crf'):
        own['test_evaluator.jobs'] = 1
    return as_options(small_options(path) | own)


def train(tools, path, work_dir, monkeypatch):
    work_dir.mkdir()
    folder = ('--work-dir', work_dir)
    options = options_of(path, work_dir)
    run_script(tools / 'train.py', monkeypatch, path, *folder, *options)
    return work_dir / 'iter_1.pth'


def figures_by(tools, path, checkpoint, work_dir, monkeypatch, *, more=()):
    work_dir.mkdir()
    arguments = (path, checkpoint, '--work-dir', work_dir, *more)
    options = options_of(path, work_dir)
    run_script(tools / 'test.py', monkeypatch, *arguments, *options)
    return figures_of(work_dir)


def weights_of(checkpoint):
    content = torch.load(checkpoint, map_location='cpu', weights_only=False)
    return content['state_dict']


@pytest.mark.parametrize('path', SEGMENTORS, ids=lambda path: path.stem)
def test_both_tools_give_the_same(path, tmp_path, monkeypatch):
    if path.stem.endswith('crf'):
        pytest.importorskip('pydensecrf.densecrf')
    name = path.stem
    theirs = train(MMSEG_TOOLS, path, tmp_path / f'{name}_theirs', monkeypatch)
    ours = train(OUR_TOOLS, path, tmp_path / f'{name}_ours', monkeypatch)
    weights, others = weights_of(theirs), weights_of(ours)
    assert weights.keys() == others.keys()
    assert [n for n in weights if not torch.equal(weights[n], others[n])] == []
    expected = figures_by(
        MMSEG_TOOLS, path, theirs, tmp_path / f'{name}_tested', monkeypatch
    )
    found = figures_by(
        OUR_TOOLS, path, theirs, tmp_path / f'{name}_measured', monkeypatch
    )
    assert {n: found[n] for n in FIGURES} == {n: expected[n] for n in FIGURES}
    assert 0 <= expected['mIoU'] <= 100 and 0 < expected['aAcc'] < 100


# ----------------------------------------------------- scales, flips and the CRF


def average_of_views(config, checkpoint, image):
    """Mean softmax (classes, H, W) of six scales and their mirror images.

    What mmseg's pipeline, model and merging do to a photograph, in plain PyTorch.
    """
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    settings = config.model.data_preprocessor
    mean, std = (torch.tensor(settings[n])[:, None, None] for n in ('mean', 'std'))
    height, width = image.shape[:2]
    total = 0
    for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75):
        size = (round(height * scale), round(width * scale))
        scaled = torch.from_numpy(cv2.resize(image, size[::-1]))
        inputs = ((scaled.permute(2, 0, 1) - mean) / std)[None]
        for axes in ((), (3,)):
            with torch.no_grad():
                logits = model.decode_head(model.backbone(inputs.flip(axes)))
            logits = resize(logits, size, mode='bilinear').flip(axes)
            logits = resize(logits, (height, width), mode='bilinear')
            total = total + logits[0].double().softmax(0)
    return (total / 12).numpy()


def label_by_package(scores, image):
    """Label of the largest marginal under the CRF of DeepLabV2, by pydensecrf alone."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    height, width = image.shape[:2]
    crf = DenseCRF2D(width, height, len(scores))
    crf.setUnaryEnergy(unary_from_softmax(scores.astype(np.float32)))
    crf.addPairwiseGaussian(1, 3)
    crf.addPairwiseBilateral(67, 3, np.ascontiguousarray(image), 4)
    return np.array(crf.inference(10)).reshape(scores.shape).argmax(0)


def miou_of(labels, masks, count):
    both, either = np.zeros(count), np.zeros(count)
    for label, mask in zip(labels, masks, strict=True):
        label, mask = label[mask != 255], mask[mask != 255]
        for c in range(count):
            both[c] += ((label == c) & (mask == c)).sum()
            either[c] += ((label == c) | (mask == c)).sum()
    return 100 * np.nanmean(both / np.where(either, either, np.nan))


def test_scales_flips_and_crf_together(place, tmp_path, monkeypatch):
    pytest.importorskip('pydensecrf.densecrf')
    checkpoint = decided_checkpoint(CRF, tmp_path / 'decided.pth')
    data = place / 'data/VOCdevkit/VOC2012'
    config, names = small_config(CRF), read_split(data, 'val')
    figures, found = {}, {}
    for flags in ((), ('--tta',)):
        folder = tmp_path / f'pictures_{len(flags)}'
        figures[flags] = figures_by(
            MMSEG_TOOLS,
            CRF,
            checkpoint,
            tmp_path / f'views_{len(flags)}',
            monkeypatch,
            more=('--out', folder, *flags),
        )
        found[flags] = [np.array(Image.open(folder / f'{n}.png')) for n in names]
    images = [np.array(Image.open(data / f'JPEGImages/{n}.jpg')) for n in names]
    averages = [average_of_views(config, checkpoint, image) for image in images]
    labels = [label_by_package(s, i) for s, i in zip(averages, images)]
    np.testing.assert_array_equal(found['--tta',], labels)
    masks = [np.array(Image.open(data / f'SegmentationClass/{n}.png')) for n in names]
    expected = miou_of(labels, masks, len(averages[0]))
    assert figures['--tta',]['mIoU'] == pytest.approx(expected, abs=0.005)
    # more than the CRF alone, or the views alone
    plain = [scores.argmax(0) for scores in averages]
    for others in (found[()], plain):
        assert (np.array(others) != np.array(labels)).mean() > 0.02
