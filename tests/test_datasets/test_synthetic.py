"""The embedded data set: shapes against closed forms, scenes, files and stamp."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwsss.apis.launch import run_tool
from mmwsss.datasets.synthetic import (
    SYNTHETIC_METAINFO,
    SyntheticSettings,
    draw_scene,
    geometry,
    write_synthetic,
)
from mmwsss.datasets.synthetic import scenes as scenes_module
from mmwsss.datasets.synthetic.classes import CLASSES, Part
from mmwsss.datasets.synthetic.scenes import (
    IGNORE,
    Pose,
    choose_classes,
    pixel_centres,
)
from mmwsss.datasets.synthetic.textures import TEXTURES
from mmwsss.utils.errors import ArtefactError, ConfigError, DataError

SMALL = SyntheticSettings(seed=3, train=7, val=2, test=1, size=48)
TOOL = Path(__file__).parents[2] / 'tools/dataset_converters/synthetic.py'


def contents(root):
    files = sorted(path for path in Path(root).rglob('*') if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic')
    assert write_synthetic(root, SMALL)
    return root


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(0, 'train', index, 96) for index in range(48)]


@pytest.mark.parametrize(
    ('shape', 'point', 'expected'),
    [
        (geometry.disc((1, 0), 2), (1, 5), 3),
        (geometry.ring((0, 0), 2, 1), (0, 0), 1.5),
        (geometry.ring((0, 0), 2, 1), (2, 0), -0.5),
        (geometry.capsule((0, 0), (4, 0), 1), (2, 3), 2),
        (geometry.capsule((0, 0), (4, 0), 1), (7, 4), 4),
        (geometry.rounded_box((0, 0), (2, 1), 0), (5, 5), 5),
        (geometry.rounded_box((0, 0), (2, 1), 0.5), (0, 0), -1),
        (geometry.ellipse((0, 0), (2, 1)), (2, 0), 0),
        (geometry.ellipse((0, 0), (2, 1)), (0, 0), -1),
        (geometry.ellipse((0, 0), (3, 3)), (0, 5), 2),
        (geometry.polygon([(0, 0), (2, 0), (2, 2), (0, 2)]), (1, 0.5), -0.5),
        (geometry.polygon([(0, 0), (2, 0), (2, 2), (0, 2)]), (5, 6), 5),
        # the notch of a concave shape is outside
        (geometry.polygon([(0, 0), (8, 0), (8, 8), (4, 4), (0, 8)]), (4, 6), 2**0.5),
        (geometry.star((1, 1), 1, 0.5, 4), (2, 1), 0),
        (geometry.star((1, 1), 1, 0.5, 4), (3, 1), 1),
    ],
)
def test_distances(shape, point, expected):
    found = shape(np.array([point], dtype=float))[0]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('name', sorted(TEXTURES))
def test_textures_are_drawn_from_the_generator(name):
    first, again, other = (
        TEXTURES[name](40, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first.shape == (40, 40, 3)
    assert 0 <= first.min() <= first.max() <= 1
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.std(axis=(0, 1)).max() > 0.02


def test_pairs_share_their_body():
    bodies = [item.body for item in CLASSES]
    assert bodies[0::2] == bodies[1::2]
    points = (pixel_centres(400) - 200) / 150
    for item in CLASSES:
        marker = (item.marker_outline(points) < 0).sum()
        assert 0.05 < marker / (item.outline(points) < 0).sum() < 0.35, item.name


def test_metainfo_names_background_first():
    assert SYNTHETIC_METAINFO['classes'][0] == 'background'
    palette = {tuple(colour) for colour in SYNTHETIC_METAINFO['palette']}
    assert len(palette) == len(SYNTHETIC_METAINFO['classes']) == 7


def test_tags_are_the_classes_of_the_mask(scenes):
    names = SYNTHETIC_METAINFO['classes']
    for scene in scenes:
        values = set(np.unique(scene.label)) - {0, IGNORE}
        assert tuple(names[value] for value in sorted(values)) == scene.tags


def test_main_class_goes_round(scenes):
    for index, scene in enumerate(scenes):
        assert CLASSES[index % len(CLASSES)].name in scene.tags


def test_scenes_hold_one_to_three_objects_of_fair_size(scenes):
    covered = [np.mean((s.label > 0) & (s.label < IGNORE)) for s in scenes]
    assert 0.1 < np.mean(covered) < 0.3 and min(covered) > 0.03
    assert {len(scene.tags) for scene in scenes} == {1, 2, 3}


def test_ignored_pixels_are_a_thin_outline(scenes):
    for scene in scenes:
        ignored = scene.label == IGNORE
        # no 3 x 3 block of ignored pixels: the outline is thin
        blocks = np.lib.stride_tricks.sliding_window_view(ignored, (3, 3))
        assert blocks.all(axis=(2, 3)).sum() <= 3
        inner = np.pad(scene.label, 1, mode='edge')
        for shift in (inner[1:-1, :-2], inner[:-2, 1:-1]):
            objects = (scene.label > 0) & (shift > 0) & (scene.label != shift)
            touching = objects & ~ignored & (shift != IGNORE)
            assert not touching.any()
        edge = (scene.label > 0) & ~ignored & (inner[1:-1, :-2] == 0)
        assert not edge.any()


def test_label_is_exact():
    """A turned box against a loop over the pixels, and against what is drawn."""
    box = Part(geometry.rounded_box((0.2, 0), (0.6, 0.3), 0), (1, 1, 1))
    item = replace(CLASSES[2], body=box, marker=(box,))
    pose, size = Pose((21.3, 18.9), 20.0, 0.7), 40
    expected = np.zeros((size, size), np.uint8)
    for row in range(size):
        for column in range(size):
            x, y = column + 0.5 - 21.3, row + 0.5 - 18.9
            u = x * math.cos(0.7) + y * math.sin(0.7) - 4
            v = y * math.cos(0.7) - x * math.sin(0.7)
            du, dv = abs(u) - 12, abs(v) - 6
            distance = math.hypot(max(du, 0), max(dv, 0)) + min(max(du, dv), 0)
            if distance < 0.5:
                expected[row, column] = 3 if distance <= -0.5 else IGNORE
    label, canvas = np.zeros_like(expected), np.zeros((size, size, 3))
    scenes_module.mark_label(label, item, 3, pose, pixel_centres(size))
    np.testing.assert_array_equal(label, expected)
    random = np.random.default_rng(0)
    scenes_module.draw_object(canvas, item, pose, pixel_centres(size), random)
    np.testing.assert_array_equal(canvas.any(-1), expected > 0)


def test_companions_and_home_backgrounds_are_frequent():
    random = np.random.default_rng(0)
    drawn = [choose_classes(CLASSES[0], random) for _ in range(300)]
    others = [item.name for members in drawn for item in members[1:]]
    # one half by companionship, the rest by chance among six
    assert 0.5 < others.count('beetle') / len(others) < 0.67


def test_scene_depends_on_its_key_alone():
    first = draw_scene(0, 'train', 5, 48)
    np.testing.assert_array_equal(draw_scene(0, 'train', 5, 48).image, first.image)
    others = [
        draw_scene(1, 'train', 5, 48),
        draw_scene(0, 'val', 5, 48),
        draw_scene(0, 'train', 11, 48),
    ]
    assert not any(np.array_equal(other.image, first.image) for other in others)


def test_unknown_split():
    with pytest.raises(ValueError, match="split: expected one of .*, got 'dev'"):
        draw_scene(0, 'dev', 0, 48)


def test_files_hold_the_scenes(written):
    names = SYNTHETIC_METAINFO['classes']
    folder = written / 'ImageSets/Segmentation'
    for split in ('train', 'val', 'test'):
        ids = (folder / f'{split}.txt').read_text().split()
        lines = (folder / f'{split}_tags.txt').read_text().splitlines()
        assert len(ids) == len(lines) == SMALL.count(split)
        for index, (image_id, line) in enumerate(zip(ids, lines)):
            scene = draw_scene(SMALL.seed, split, index, SMALL.size)
            assert line.split() == [image_id, *scene.tags]
            assert set(scene.tags) <= set(names)
            mask = Image.open(written / f'SegmentationClass/{image_id}.png')
            assert mask.mode == 'P'
            assert mask.getpalette()[3:6] == SYNTHETIC_METAINFO['palette'][1]
            np.testing.assert_array_equal(np.asarray(mask), scene.label)
            photo = np.asarray(Image.open(written / f'JPEGImages/{image_id}.jpg'))
            error = np.abs(photo.astype(float) - scene.image)
            assert photo.shape == scene.image.shape and error.mean() < 8


def test_same_seed_same_bytes(written, tmp_path):
    write_synthetic(tmp_path / 'again', SMALL)
    assert contents(tmp_path / 'again') == contents(written)


def test_first_images_do_not_depend_on_the_counts(written, tmp_path):
    fewer = SyntheticSettings(seed=3, train=2, val=1, test=1, size=48)
    write_synthetic(tmp_path / 'fewer', fewer)
    whole = contents(written)
    for name, content in contents(tmp_path / 'fewer').items():
        if name.endswith(('.jpg', '.png')):
            assert whole[name] == content


def test_second_run_writes_nothing(written):
    before = {path: path.stat().st_mtime_ns for path in written.rglob('*')}
    assert not write_synthetic(written, SMALL)
    assert {path: path.stat().st_mtime_ns for path in written.rglob('*')} == before


def test_missing_file_and_stopped_run_are_made_good(written, tmp_path):
    root = tmp_path / 'data'
    write_synthetic(root, SMALL)
    (root / 'JPEGImages/train_00001.jpg').unlink()
    assert write_synthetic(root, SMALL)
    stamp = json.loads((root / 'synthetic.json').read_text())
    (root / 'synthetic.json').write_text(json.dumps({**stamp, 'complete': False}))
    assert write_synthetic(root, SMALL)
    assert contents(root) == contents(written)


@pytest.mark.parametrize('change', [dict(seed=4), dict(train=8), dict(size=64)])
def test_other_settings_in_the_same_folder_are_refused(written, change):
    asked = SyntheticSettings(
        **{**dict(seed=3, train=7, val=2, test=1, size=48), **change}
    )
    before = contents(written)
    with pytest.raises(DataError, match=r'was made with .*choose another folder'):
        write_synthetic(written, asked)
    assert contents(written) == before


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('notes.txt', 'mine', 'is not empty and has no synthetic.json'),
        ('synthetic.json', '{', 'is no stamp of this generator'),
        ('synthetic.json', '[]', 'is no stamp of this generator'),
        ('synthetic.json', '{}', 'is no stamp of this generator'),
    ],
)
def test_foreign_folder_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        write_synthetic(tmp_path, SMALL)
    assert contents(tmp_path) == {name: text.encode()}


def test_folder_name_taken_by_a_file(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DataError, match='is not empty and has no'):
        write_synthetic(tmp_path / 'file', SMALL)
    with pytest.raises(ArtefactError, match='a part of the path is a file'):
        write_synthetic(tmp_path / 'file' / 'below', SMALL)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(seed=-1), 'seed: expected at least 0, got -1'),
        (dict(train=0), 'train: expected at least 1, got 0'),
        (dict(size=8), 'size: expected at least 32, got 8'),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        SyntheticSettings(**settings)


def test_tool_writes_and_refuses(written, tmp_path, capsys):
    main = runpy.run_path(str(TOOL))['main']
    out = str(tmp_path / 'out')
    counts = ['--train', '7', '--val', '2', '--test', '1', '--size', '48']
    main([out, '--seed', '3', *counts])
    assert '10 images written' in capsys.readouterr().out
    assert contents(out) == contents(written)
    main([out, '--seed', '3', *counts])
    assert '10 images already there' in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        run_tool(lambda: main([out, '--seed', '4', *counts]))
    assert caught.value.code == 1
    assert capsys.readouterr().err.count('\n') == 1
