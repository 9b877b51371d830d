"""The report on a pipeline with random weights: real artefacts, chosen figures."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import MODELS
from PIL import Image
from pipeline_folder import write_pipeline
from pseudo_label_run import ROOT, run_tool, write_checkpoint, write_config
from tiny_run import without_slow_logging

CLASSES = list(PascalVOCDataset.METAINFO['classes'])
SEGMENTOR = """
_base_ = {base!r}
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='mmwsss.LoadMask'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PascalVOCDataset',
        data_root={root!r},
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=test_pipeline,
    )
)
model = dict(
    data_preprocessor=dict(size=(32, 32)), decode_head=dict(num_classes=21)
)
"""


def load_tool():
    path = ROOT / 'tools/analysis/pipeline_report.py'
    spec = importlib.util.spec_from_file_location('pipeline_report', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()


def write_segmentor(folder, voc_root):
    path = folder / 'segmentor_source.py'
    base = str(ROOT / 'configs/segmentation/deeplabv2_embedded.py')
    path.write_text(SEGMENTOR.format(base=base, root=str(voc_root)))
    config = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model)
    return config, model.state_dict()


def save_run(folder, state):
    folder.mkdir()
    torch.save(dict(state_dict=state, meta={}), folder / 'last.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'last.pth'))


@pytest.fixture
def work_dir(tmp_path, voc_root, monkeypatch):
    """A work directory as the pipeline leaves it, the test split VOC's val."""
    without_slow_logging(monkeypatch)
    folder = write_pipeline(tmp_path / 'work', classes=CLASSES)
    source = write_config(tmp_path, voc_root)
    config = Config.fromfile(source)
    config.test_dataloader.dataset.ann_file = 'ImageSets/Segmentation/val.txt'
    config.dump(folder / 'configs/classifier.py')
    checkpoint = write_checkpoint(tmp_path / 'random.pth', source)
    save_run(folder / 'classifier', torch.load(checkpoint)['state_dict'])
    segmentor, state = write_segmentor(tmp_path, voc_root)
    segmentor.dump(folder / 'configs/segmentor.py')
    save_run(folder / 'segmentor', state)
    arguments = ['--out', folder / 'labels', '--refiner', 'threshold']
    run_tool(monkeypatch, source, checkpoint, *arguments)
    Image.new('RGB', (2, 2)).save(folder / 'seeds/seed_curve.png')
    return folder


@pytest.fixture
def call(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['pipeline_report', *map(str, arguments)])
        tool.run_tool(tool.main)

    return call


def constant_miou(voc_root, answer):
    """Judge an answer pixel by pixel: from an image's name to one label."""
    hits, answered, true = np.zeros((3, 21), int)
    for name in (voc_root / 'ImageSets/Segmentation/val.txt').read_text().split():
        mask = np.array(Image.open(voc_root / f'SegmentationClass/{name}.png'))
        for label in mask[mask != 255].tolist():
            hits[label] += label == answer(name)
            answered[answer(name)] += 1
            true[label] += 1
    return 100 * np.mean(hits / np.maximum(answered + true - hits, 1))


def test_report_shows_figures_and_examples(call, work_dir, voc_root, capsys, tmp_path):
    call(work_dir, '--examples', 2, '--picture', tmp_path / 'rows.png')
    figures = json.loads((work_dir / 'report.json').read_text())
    assert figures['segmentor_miou'] == 40.0
    background = constant_miou(voc_root, lambda name: 0)
    tags = (voc_root / 'ImageSets/Segmentation/val_tags.txt').read_text().splitlines()
    first = {line.split()[0]: CLASSES.index(line.split()[1]) for line in tags}
    expected = [background, constant_miou(voc_root, first.get)]
    found = figures['constant_miou_by_answer']
    np.testing.assert_allclose([*found.values()], expected, atol=0.005)
    page = (work_dir / 'report.html').read_text()
    # first and last image of val have 1 and 2 tags, of train 2 and 1
    for title in ('seeds', 'prediction', 'mask', 'pseudo label'):
        assert page.count(f'">\n{title}</div>') == 2
    assert page.count('>\nmap: ') == 3 + 3
    assert '2008_000004, tags: pottedplant, sofa' in page
    assert Image.open(tmp_path / 'rows.png').mode == 'P'
    assert str(work_dir / 'report.html') in capsys.readouterr().out.replace('\n', '')


def test_comparison_is_written(call, work_dir, tmp_path):
    other = write_pipeline(tmp_path / 'other', miou=45.0, classes=CLASSES)
    call(work_dir, '--examples', 1, '--compare', other)
    figures = json.loads((work_dir / 'report.json').read_text())
    assert figures['compare']['difference']['segmentor_miou'] == -5.0


def test_unfinished_pipeline_is_one_line(call, work_dir, capsys):
    (work_dir / 'stages/test.json').unlink()
    with pytest.raises(SystemExit):
        call(work_dir)
    assert 'test.json is missing; finish the chain' in capsys.readouterr().err
    assert not (work_dir / 'report.html').exists()


def test_other_folder_is_one_line(call, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(tmp_path)
    assert 'is not a folder of tools/run_pipeline.py' in capsys.readouterr().err


def test_number_of_examples_is_checked(call, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call(tmp_path, '--examples', 0)
    assert 'expected at least 1, got 0' in capsys.readouterr().err


def test_even_distances():
    assert tool.evenly(120, 4) == [0, 40, 79, 119]
    assert tool.evenly(2, 6) == [0, 1]
