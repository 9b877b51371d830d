"""The comparison of seed records with dictionaries, on a trained tiny classifier."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from accumulation_run import IDS, config_maker, run
from PIL import Image
from pseudo_label_run import ROOT, one_thread
from tiny_run import without_slow_logging

from mmwsss.apis.seed_exchange import export_seeds
from mmwsss.apis.seeds import generate_seeds, load_tagged_images

PATH = ROOT / 'tools/analysis/seed_store_study.py'
CLASSES = 21


def curve_by_hand(maps_of, voc_root, thresholds):
    """Seed mIoU in points at each threshold, every label map made anew."""
    masks = {
        name: np.array(Image.open(voc_root / f'SegmentationClass/{name}.png'))
        for name in IDS
    }
    means = []
    for threshold in thresholds:
        counts = np.zeros((3, CLASSES), int)
        for name, mask in masks.items():
            maps = maps_of[name]
            planes = np.stack([np.full(mask.shape, threshold), *maps.values()])
            labels = np.array([0, *(index + 1 for index in maps)])[planes.argmax(0)]
            judged = mask != 255
            for index in range(CLASSES):
                ours, theirs = labels == index, mask == index
                counts[0, index] += (ours & judged).sum()
                counts[1, index] += (theirs & judged).sum()
                counts[2, index] += (ours & theirs & judged).sum()
        union = counts[0] + counts[1] - counts[2]
        means.append(100 * np.mean(counts[2] / np.maximum(union, 1)))
    return np.array(means)


def test_figures(tmp_path, voc_root, monkeypatch, capsys):
    without_slow_logging(monkeypatch)
    with one_thread(monkeypatch):
        config = config_maker(tmp_path, voc_root)('work')
        run(config)
        config.dump(tmp_path / 'config.py')
        checkpoint = str(tmp_path / 'work/epoch_5.pth')
        images = load_tagged_images(config)
        store = generate_seeds(config, checkpoint, images, tmp_path / 'seeds')
        arguments = [tmp_path / 'config.py', checkpoint, '--repeats', 1]
        arguments += ['--json', tmp_path / 'figures.json']
        monkeypatch.syspath_prepend(PATH.parent)
        monkeypatch.setattr(sys, 'argv', [str(PATH), *map(str, arguments)])
        runpy.run_path(str(PATH), run_name='__main__')
    figures = json.loads((tmp_path / 'figures.json').read_text())
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index('{\n') :]) == figures
    assert figures['images'] == len(IDS)
    export_seeds(store, tmp_path / 'npy')
    found = {
        name: np.load(tmp_path / f'npy/{name}.npy', allow_pickle=True).item()
        for name in IDS
    }
    sizes = [file.stat().st_size for file in (tmp_path / 'npy').iterdir()]
    assert figures['bytes_an_image']['npy'] == pytest.approx(np.mean(sizes), rel=0.01)
    thresholds = torch.linspace(0.05, 0.95, 91).numpy()
    curve = curve_by_hand(found, voc_root, thresholds)
    assert figures['best_miou']['records'] == pytest.approx(curve.max(), abs=1e-4)
    assert 0 <= figures['largest_miou_difference'] < 1
    assert figures['size_ratio'] == pytest.approx(
        figures['bytes_an_image']['npy'] / figures['bytes_an_image']['seeds']
    )
