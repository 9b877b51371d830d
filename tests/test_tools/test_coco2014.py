"""COCO's converter against pycocotools, and everything that it refuses."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as coder
from pycocotools.coco import COCO

from mmwsss.datasets import COCOTagDataset, read_tag_list
from mmwsss.datasets.coco_instances import read_instances
from mmwsss.utils.errors import ArtefactError, WSSSError

TOOLS = Path(__file__).parents[2] / 'tools'
CLASSES = COCOTagDataset.METAINFO['classes'][1:]
SIZE = (48, 64)
COUNT = 12


def load(name, folder):
    spec = importlib.util.spec_from_file_location(name, TOOLS / folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    # worker processes find the functions by the module's name
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def tool():
    yield load('coco2014', 'dataset_converters')
    del sys.modules['coco2014']


@pytest.fixture(scope='module')
def study():
    yield load('coco_converter_study', 'analysis')
    del sys.modules['coco_converter_study']


@pytest.fixture
def root(tmp_path, study, monkeypatch):
    """Annotations with polygons, several an object, both codes, crowds and ties."""
    monkeypatch.setattr(study, 'CROWDS', 0.25)
    path = tmp_path / 'annotations/instances_train2014.json'
    path.parent.mkdir()
    study.write_instances(path, COUNT, size=SIZE)
    change(path, compress)
    return tmp_path


def compress(content):
    """Give every second code in its compressed form, some objects several polygons."""
    codes = [a for a in content['annotations'] if isinstance(a['segmentation'], dict)]
    assert len(codes) > 8
    for entry in codes[::2]:
        code = coder.frPyObjects(entry['segmentation'], *SIZE)
        entry['segmentation'] = dict(size=list(SIZE), counts=code['counts'].decode())
    drawn = [a for a in content['annotations'] if isinstance(a['segmentation'], list)]
    for entry, other in zip(drawn[::3], drawn[1::3]):
        entry['segmentation'] += [*other['segmentation'], [1.0, 2.0, 3.0, 4.0]]
    for entry in drawn[::4]:
        entry['area'] = 50.0
    # large and small objects as run-length codes without a crowd, an empty one
    codes[0]['iscrowd'] = codes[1]['iscrowd'] = 0
    drawn[5]['segmentation'] = []
    del drawn[6]['area'], drawn[7]['iscrowd']
    first = content['images'][0]['id']
    kept = [a for a in content['annotations'] if a['image_id'] != first]
    content['annotations'] = kept


def change(path, action):
    content = json.loads(path.read_text())
    action(content)
    path.write_text(json.dumps(content))


def annotations(root):
    return root / 'annotations/instances_train2014.json'


def run(tool, root, *arguments):
    tool.main([str(root), '--workers', '2', *arguments])


def fails_with(tool, root, *arguments):
    with pytest.raises(WSSSError) as caught:
        run(tool, root, *arguments)
    assert not (root / 'lists').exists()
    return str(caught.value)


def painted(coco, image):
    """Return the mask as pycocotools draws it, pixel by pixel the smallest object."""
    found = coco.loadAnns(coco.getAnnIds(imgIds=image['id']))
    names = {c['id']: c['name'].replace(' ', '_') for c in coco.dataset['categories']}
    mask = np.zeros((image['height'], image['width']), int)
    best = np.full(mask.shape, np.inf)
    for entry in found:
        # pycocotools takes a list of four numbers for a box
        if isinstance(entry['segmentation'], list):
            polygons = [p for p in entry['segmentation'] if len(p) > 4]
            entry = dict(entry, segmentation=polygons)
        if not entry['segmentation']:
            continue
        inside = coco.annToMask(entry).astype(bool)
        crowd = entry.get('iscrowd', 0)
        area = 1e9 if crowd else entry.get('area', inside.sum())
        won = inside & (area < best)
        best[won] = area
        mask[won] = 255 if crowd else 1 + CLASSES.index(names[entry['category_id']])
    return mask


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_masks_and_lists_are_pycocotools(tool, root, capsys):
    run(tool, root)
    coco = COCO(annotations(root))
    tags = read_tag_list(root / 'lists/train_tags.txt', CLASSES)
    masks, shown = {}, 0
    for image in coco.dataset['images']:
        name = Path(image['file_name']).stem
        with Image.open(root / f'masks/train2014/{name}.png') as file:
            assert file.mode == 'P'
            masks[name] = np.array(file)
        np.testing.assert_array_equal(masks[name], painted(coco, image))
        shown += (masks[name] == 255).any() and len(np.unique(masks[name])) > 3
        own = {a['category_id'] for a in coco.loadAnns(coco.getAnnIds(image['id']))}
        names = {n['name'].replace(' ', '_') for n in coco.loadCats(list(own))}
        assert {CLASSES[i] for i in tags.get(name, ())} == names
    assert shown >= 4
    listed = (root / 'lists/train.txt').read_text().split()
    assert listed == sorted(masks)[1:] == list(tags)
    assert f'{COUNT - 1} images, 1 without objects' in capsys.readouterr().out


def test_data_set_reads_what_is_written(tool, root):
    run(tool, root)
    images = root / 'train2014'
    images.mkdir()
    for name in (root / 'lists/train.txt').read_text().split():
        Image.new('RGB', SIZE[::-1]).save(images / f'{name}.jpg')
    with DefaultScope.overwrite_default_scope('mmwsss'):
        dataset = COCOTagDataset(
            'lists/train.txt',
            tag_file='lists/train_tags.txt',
            data_root=str(root),
            data_prefix=dict(img_path='train2014', seg_map_path='masks/train2014'),
            pipeline=[dict(type='LoadImage'), dict(type='LoadMask')],
        )
    assert len(dataset) == COUNT - 1
    assert dataset[0]['gt_seg_map'].shape == SIZE


def test_stopped_and_resumed_run_gives_the_same_bytes(tool, root, monkeypatch):
    run(tool, root, '--empty')
    whole = contents(root)
    assert len((root / 'lists/train.txt').read_text().split()) == COUNT
    masks = sorted((root / 'masks/train2014').glob('*.png'))
    masks[3].unlink()
    masks[4].write_bytes(masks[4].read_bytes()[:-3])
    (root / 'masks/train2014/.mmwsss-dead-0.tmp').write_bytes(b'left')
    for name in ('lists/train.txt', 'lists/train_tags.txt'):
        (root / name).unlink()
    kept = masks[5].stat().st_mtime_ns
    run(tool, root, '--empty', '--workers', '1')
    assert contents(root) == whole
    assert masks[5].stat().st_mtime_ns == kept


def test_another_file_of_annotations_is_not_mixed_in(tool, root):
    run(tool, root)
    change(annotations(root), lambda content: content['annotations'].pop())
    with pytest.raises(WSSSError, match='holds masks of another annotations'):
        run(tool, root)


def test_index_is_compact(root):
    instances = read_instances(annotations(root), CLASSES)
    assert instances.first.nbytes + instances.places.nbytes <= 17 * 90 + 8 * COUNT
    content = json.loads(annotations(root).read_text())
    ids = {Path(i['file_name']).stem: i['id'] for i in content['images']}
    for index, name in enumerate(instances.names):
        own = [a for a in content['annotations'] if a['image_id'] == ids[name]]
        assert instances.annotations(index) == own


def bad_entry(**changes):
    def action(content):
        content['annotations'][-1].update(changes)

    return action


@pytest.mark.parametrize(
    ('action', 'message'),
    [
        (bad_entry(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), 'an odd number of coord'),
        (bad_entry(segmentation=[['x'] * 6]), 'cannot be drawn'),
        (bad_entry(segmentation=[[float('nan')] * 6]), 'a coordinate is not finite'),
        (bad_entry(segmentation=[1, 2]), 'cannot be drawn'),
        (bad_entry(segmentation=dict(size=[48, 63], counts=[3024])), r'\[48, 63\]'),
        (bad_entry(segmentation=dict(size=[48, 64], counts=[3000])), '3000 pixels'),
        (bad_entry(segmentation=dict(size=[48, 64], counts=[])), ' 0 pixels'),
        (bad_entry(segmentation=dict(size=[48, 64], counts=[-1, 3073])), 'run-length'),
        (bad_entry(segmentation=dict(size=[48, 64], counts='')), ' 0 pixels'),
        (bad_entry(segmentation=dict(size=[48, 64], counts='a~')), "'~' is no digit"),
        (bad_entry(segmentation=dict(size=[48, 64], counts='P')), 'cut short'),
        (bad_entry(segmentation=7), 'cannot be drawn'),
        (bad_entry(segmentation=dict(size=[48, 64])), ' 0 pixels'),
        (bad_entry(segmentation=dict(counts=[3072])), 'of size None'),
        (bad_entry(area='large'), 'cannot be drawn'),
        (bad_entry(category_id='1'), 'cannot be drawn'),
        (bad_entry(image_id=10**30), r'an entry of annotations is not COCO.s'),
        (lambda content: content['annotations'][0].pop('image_id'), 'not COCO'),
        (lambda content: content['annotations'].append(3), 'not COCO'),
        (
            lambda content: content['images'][0].update(height=10**6, width=10**6),
            r'1000000x1000000 pixels are more than 178956970',
        ),
        (bad_entry(image_id=7), 'an annotation is of image 7, not there'),
        (bad_entry(category_id=9), 'an annotation is of category 9, not there'),
        (bad_entry(category_id=None), r'an entry of annotations is not COCO.s'),
        (lambda content: content['images'][0].pop('width'), r"\(KeyError\('width'\)"),
        (lambda content: content['images'][0].update(height=0), 'has no pixels'),
        (
            lambda content: content['images'][0].update(id=content['images'][1]['id']),
            'its id is taken',
        ),
        (
            lambda content: content['images'][0].update(
                file_name=content['images'][1]['file_name']
            ),
            'two images of one name',
        ),
        (
            lambda content: content['images'][0].update(file_name='../a.jpg'),
            "'../a' is no name for an artefact",
        ),
        (lambda content: content.pop('categories'), 'has no categories: name'),
        (lambda content: content.pop('images'), 'has no images: name'),
        (lambda content: content['annotations'].clear(), 'has no annotation'),
        (
            lambda content: content['categories'][0].update(name='rider'),
            "not COCO's 80 categories: they differ in person, rider",
        ),
        (
            lambda content: content['categories'].append(dict(id=99, name='person')),
            'they differ in a name twice',
        ),
    ],
)
def test_unusable_annotations(tool, root, action, message):
    change(annotations(root), action)
    assert re.search(message, fails_with(tool, root, '--workers', '1'))


def test_missing_or_cut_file(tool, root):
    path = annotations(root)
    path.write_bytes(path.read_bytes()[:-400])
    assert 'is no JSON object at byte' in fails_with(tool, root)
    for content in ('', '[]', '3', '{"images": {}'):
        path.write_text(content)
        assert 'is no JSON object at byte' in fails_with(tool, root)
    path.write_text('{"images": {}}')
    assert 'has no categories' in fails_with(tool, root)
    path.unlink()
    assert f'cannot read {path}' in fails_with(tool, root)


def test_polygons_of_fewer_than_three_points_cover_nothing(tool):
    drawn = tool.region([[1, 1], [1, 1, 4, 4], []], height=6, width=6)
    assert drawn.shape == (6, 6) and not drawn.any()


def test_folder_that_cannot_be_written(tool, root):
    (root / 'masks').write_text('in the way')
    with pytest.raises(ArtefactError, match='a part of the path is a file'):
        run(tool, root)
    assert not (root / 'lists').exists()


def test_without_pycocotools(tool, root, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    assert 'run: pip install "mmwsss[coco]"' in fails_with(tool, root)


def test_a_killed_process_is_told(tool, root, monkeypatch):
    monkeypatch.setattr(tool, 'semantic_mask', lambda *args, **kwargs: os._exit(1))
    assert 'a process was killed' in fails_with(tool, root)


def test_lines_of_the_study(study):
    rows = [dict(images=n, seconds=3 + 0.01 * n) for n in (2000, 4000, 8000)]
    found = study.extend(rows, 'seconds')
    assert found['at_official'] == pytest.approx(830.8, abs=0.1)
    assert found['at_none'] == 3.0 and found['largest_deviation'] < 1e-6
