import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwsss.utils.errors import ArtefactError, DataError

PATH = Path(__file__).parents[2] / 'tools/dataset_converters/voc_tags.py'
SPLITS = 'ImageSets/Segmentation'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('voc_tags', PATH)
    module = importlib.util.module_from_spec(spec)
    # Worker processes find the functions by the module's name.
    sys.modules['voc_tags'] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['voc_tags']


def run(tool, root, *arguments):
    tool.main([str(root), '--split', 'train', '--workers', '2', *arguments])
    return (root / SPLITS / 'train_tags.txt').read_text()


def fails_with(tool, root, *arguments):
    with pytest.raises(DataError) as caught:
        run(tool, root, *arguments)
    return str(caught.value)


def write_xml(root, name, *objects):
    folder = root / 'Annotations'
    folder.mkdir(exist_ok=True)
    items = ''.join(
        f'<object><name>{label}</name><difficult>{difficult}</difficult></object>'
        for label, difficult in objects
    )
    (folder / f'{name}.xml').write_text(f'<annotation>{items}</annotation>')


def test_masks(tool, voc_root, capsys):
    expected = (voc_root / SPLITS / 'train_tags.txt').read_text()
    (voc_root / SPLITS / 'train_tags.txt').unlink()
    assert run(tool, voc_root) == expected
    assert 'train_tags.txt: 8 images, 0 without tags' in capsys.readouterr().out
    assert not [name for name in os.listdir(voc_root / SPLITS) if name[0] == '.']


def test_masks_of_another_folder(tool, voc_root):
    expected = run(tool, voc_root)
    (voc_root / 'SegmentationClass').rename(voc_root / 'elsewhere')
    message = fails_with(tool, voc_root)
    assert 'mask not found' in message
    assert '--masks-dir' in message
    assert run(tool, voc_root, '--masks-dir', 'elsewhere') == expected


@pytest.mark.parametrize('moved', [slice(0, 8), slice(0, 3)])
def test_both_layouts_of_the_extra_masks(tool, voc_root, moved):
    """All masks in the second folder, or only those that the first lacks."""
    expected = run(tool, voc_root)
    (voc_root / 'SegmentationClassAug').mkdir()
    for path in sorted((voc_root / 'SegmentationClass').iterdir())[moved]:
        path.rename(voc_root / 'SegmentationClassAug' / path.name)
    assert run(tool, voc_root) == expected


def test_official_masks_come_first(tool, voc_root):
    extra = voc_root / 'SegmentationClassAug'
    extra.mkdir()
    name = '2007_000002.png'
    mask = Image.fromarray(np.full((60, 40), 12, np.uint8))
    mask.save(extra / name)
    assert '2007_000002 cat\n' in run(tool, voc_root)
    folders = ['SegmentationClassAug', 'SegmentationClass']
    assert '2007_000002 dog\n' in run(tool, voc_root, '--masks-dir', *folders)


def test_disagreements_of_masks_and_xml(tool, voc_root, capsys):
    (voc_root / SPLITS / 'train.txt').write_text(
        '2007_000001\n2007_000002\n2007_000003\n'
    )
    write_xml(voc_root, '2007_000001', ('person', 0), ('aeroplane', 0))
    write_xml(voc_root, '2007_000002', ('cat', 1), ('dog', 0), ('sofa', 0))
    write_xml(voc_root, '2007_000003', ('chair', 0), ('dog', 1))
    tags = run(tool, voc_root, '--source', 'both')
    lines = ['2007_000001 aeroplane person', '2007_000002 cat', '2007_000003 chair dog']
    assert tags.splitlines() == lines
    report = voc_root / SPLITS / 'train_disagreements.csv'
    assert report.read_text().splitlines() == [
        'image,mask_only,xml_only',
        '2007_000002,cat,dog;sofa',
        '2007_000003,dog,',
    ]
    assert 'masks and XML disagree on 2 of 3 images' in capsys.readouterr().out
    run(tool, voc_root, '--source', 'both', '--keep-difficult')
    assert report.read_text().splitlines()[1:] == ['2007_000002,,dog;sofa']


def test_mask_without_classes_is_listed_and_counted(tool, voc_root, capsys):
    Image.new('L', (60, 40), 255).save(voc_root / 'SegmentationClass/2007_000001.png')
    assert run(tool, voc_root).startswith('2007_000001 []\n2007_000002 cat\n')
    assert '1 without tags' in capsys.readouterr().out


def test_corrupt_mask(tool, voc_root):
    path = voc_root / 'SegmentationClass/2007_000003.png'
    path.write_bytes(path.read_bytes()[:60])
    before = (voc_root / SPLITS / 'train_tags.txt').read_text()
    assert f'mask cannot be read: {path}' in fails_with(tool, voc_root)
    assert (voc_root / SPLITS / 'train_tags.txt').read_text() == before


def test_mask_with_a_label_too_many(tool, voc_root):
    path = voc_root / 'SegmentationClass/2007_000003.png'
    Image.fromarray(np.full((4, 4), 21, np.uint8)).save(path)
    assert f'mask {path} has label 21, expected 0..20' in fails_with(tool, voc_root)


@pytest.mark.parametrize(
    ('mask', 'message'),
    [
        (Image.new('RGBA', (4, 4)), 'has 4 channels, expected one'),
        (Image.fromarray(np.full((4, 4), 257, np.uint16)), 'has label 257'),
    ],
)
def test_mask_of_another_kind(tool, voc_root, mask, message):
    mask.save(voc_root / 'SegmentationClass/2007_000003.png')
    assert f'2007_000003.png {message}' in fails_with(tool, voc_root)


def test_mask_of_absurd_size(tool, voc_root, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    message = fails_with(tool, voc_root, '--workers', '1')
    assert 'mask cannot be read: ' in message and 'exceeds limit' in message


def test_interrupted_and_started_again(tool, voc_root, monkeypatch):
    path = voc_root / SPLITS / 'train_tags.txt'
    expected = path.read_text()
    path.write_text('of before')

    def stop(found, text, *, total):
        yield next(iter(found))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tool, 'track', stop)
        with pytest.raises(KeyboardInterrupt):
            run(tool, voc_root)
    assert path.read_text() == 'of before'
    assert not [name for name in os.listdir(voc_root / SPLITS) if name[0] == '.']
    assert run(tool, voc_root) == expected


def test_list_that_cannot_be_written(tool, voc_root):
    (voc_root / SPLITS / 'train_tags.txt').unlink()
    (voc_root / SPLITS / 'train_tags.txt').mkdir()
    with pytest.raises(ArtefactError, match='a folder has that name: remove it'):
        run(tool, voc_root)


def test_colour_mask(tool, voc_root):
    path = voc_root / 'SegmentationClass/2007_000003.png'
    Image.new('RGB', (4, 4)).save(path)
    assert f'mask {path} has 3 channels' in fails_with(tool, voc_root)


def test_xml(tool, voc_root):
    (voc_root / SPLITS / 'train.txt').write_text('a\nb\n')
    write_xml(voc_root, 'a', ('person', 0), ('cat', 0), ('person', 0), ('dog', 1))
    write_xml(voc_root, 'b', ('tvmonitor', 1))
    assert run(tool, voc_root, '--source', 'xml') == 'a cat person\nb []\n'
    both = run(tool, voc_root, '--source', 'xml', '--keep-difficult')
    assert both == 'a cat dog person\nb tvmonitor\n'


def test_xml_of_unknown_class(tool, voc_root):
    (voc_root / SPLITS / 'train.txt').write_text('a\n')
    write_xml(voc_root, 'a', ('catt', 0))
    message = fails_with(tool, voc_root, '--source', 'xml')
    assert message.endswith('a.xml names unknown classes: catt')


def test_xml_missing_or_corrupt(tool, voc_root):
    (voc_root / SPLITS / 'train.txt').write_text('a\n')
    assert 'annotation not found' in fails_with(tool, voc_root, '--source', 'xml')
    write_xml(voc_root, 'a')
    path = voc_root / 'Annotations/a.xml'
    for content in (b'', b'<annotation>', b'<annotation>\xfc</annotation>'):
        path.write_bytes(content)
        message = fails_with(tool, voc_root, '--source', 'xml')
        assert f'annotation cannot be read: {path}' in message
    path.unlink()
    path.mkdir()
    assert 'annotation cannot be read' in fails_with(tool, voc_root, '--source', 'xml')


def test_missing_and_empty_split(tool, voc_root):
    (voc_root / SPLITS / 'train.txt').write_text('\n')
    assert 'split is empty' in fails_with(tool, voc_root)
    (voc_root / SPLITS / 'train.txt').write_bytes('ü'.encode('latin-1'))
    assert 'train.txt is not in UTF-8' in fails_with(tool, voc_root)
    (voc_root / SPLITS / 'train.txt').unlink()
    assert 'split not found' in fails_with(tool, voc_root)


@pytest.mark.photographs
def test_masks_agree_with_the_published_list(tool, photographs):
    root = photographs / 'VOCdevkit/VOC2012'
    ids = (root / SPLITS / 'train_mini.txt').read_text().split()
    from mmwsss.datasets import VOCTagDataset, read_tag_list

    classes = VOCTagDataset.METAINFO['classes'][1:]
    listed = read_tag_list(photographs / 'lists/train_aug_labels.txt', classes)
    folder = root / 'SegmentationClass'
    found = {
        i: tool.tags_of_mask(i, folder=folder, num_classes=len(classes)) for i in ids
    }
    assert len(found) == 300
    assert found == {image_id: listed[image_id] for image_id in ids}


def test_what_one_list_has_and_another_lacks(tool, voc_root):
    splits = voc_root / SPLITS
    (splits / 'few.txt').write_text('2007_000006\n2007_000002\n')
    tags = run(tool, voc_root, '--less', 'few', '--name', 'rest')
    rest = [f'2007_00000{n}' for n in (1, 3, 4, 5, 7, 8)]
    assert (splits / 'rest.txt').read_text().split() == rest
    written = (splits / 'rest_tags.txt').read_text().splitlines()
    assert written == [line for line in tags.splitlines() if line[:11] in rest]


@pytest.mark.parametrize(
    ('few', 'arguments', 'part'),
    [
        ('2007_000002', ['--less', 'few'], '--less and --name go together'),
        ('2008_000001', ['--less', 'few', '--name', 'x'], 'lacks 2008_000001'),
        (None, ['--less', 'train', '--name', 'x'], 'nothing is left'),
        (None, ['--less', 'few', '--name', 'x'], 'split not found'),
    ],
)
def test_lists_without_a_difference(tool, voc_root, few, arguments, part):
    if few:
        (voc_root / SPLITS / 'few.txt').write_text(few)
    assert part in fails_with(tool, voc_root, *arguments)
    assert not (voc_root / SPLITS / 'x.txt').exists()
