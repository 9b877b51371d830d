"""Bad data and checkpoints given to the tools: one line that helps, no work lost."""

# a case is a row, however long
# ruff: noqa: E501

import numpy as np
import torch
from bad_input_place import (
    IDS,
    Trap,
    cases,
    command,
    compressed,
    cut,
    measure,
    nothing,
    png_of,
    raw_pickle,
    refused,
    resume,
    run,
    seeds,
    store,
    train,
    written,
)
from PIL import Image


def test_sound_input_is_taken(place):
    """The cases below fail for what was changed, not for the place."""
    before = place.finished()
    for case in (seeds(), measure(), store('verify', '{out}/seeds')):
        code, lines = run(place, case)
        assert code == 0, lines
    after = place.finished()
    assert {name: after[name] for name in before} == before


# ---------------------------------------------------------------------- lists and tags


def first_line(text):
    return lambda p: p.list().write_bytes(text + p.list().read_bytes())


def tags(change):
    def damage(place):
        path = place.list('train_tags')
        path.write_bytes(change(path.read_text()))

    return damage


def folder_instead(name):
    def damage(place):
        place.list(name).unlink()
        place.list(name).mkdir()

    return damage


LISTED = [
    ('empty list', written('list', ''), seeds(), 'Data', ['train.txt lists no image', 'set dataset.ann_file']),
    ('list in latin-1', first_line('ü\n'.encode('latin-1')), seeds(), 'Data', ['train.txt', 'not in UTF-8', 'save it as UTF-8']),
    ('list in UTF-16', written('list', 'a'.encode('utf-16')), seeds(), 'Data', ['train.txt', 'UTF-8']),
    ('image twice', first_line(f'{IDS[0]}\n'.encode()), seeds(), 'Data', ['train.txt', IDS[0], 'keep one line each']),
    ('image that is not there', first_line(b'2007_999999\n'), train(), 'Data', []),
    ('image of another folder', first_line(b'../secret\n'), seeds(), 'Data', []),
    ('list is a folder', folder_instead('train'), seeds(), 'Data', ['train.txt']),
    ('list is gone', lambda p: p.list().unlink(), seeds(), 'Data', ['train.txt does not exist', 'set dataset.ann_file']),
    ('tags are gone', lambda p: p.list('train_tags').unlink(), seeds(), 'Data', ['train_tags.txt', 'make the list']),
    ('tags are a folder', folder_instead('train_tags'), seeds(), 'Data', ['train_tags.txt']),
    ('tags in latin-1', tags(lambda t: (t + 'ü cat').encode('latin-1')), seeds(), 'Data', ['train_tags.txt', 'save it as UTF-8']),
    ('unknown tag', tags(lambda t: t.replace('cat', 'kat').encode()), seeds(), 'Data', ["line 2: unknown class 'kat'", 'closest known names are cat']),
    ('tags twice', tags(lambda t: (t + t).encode()), seeds(), 'Data', ['line 4', 'listed twice']),
    ('no tags of an image', tags(lambda t: t.replace(' cat', ' []').encode()), seeds(), 'Data', [IDS[1], "empty_tags='drop'"]),
    ('image without a line', tags(lambda t: t.partition('\n')[2].encode()), seeds(), 'Data', ['has no line for', IDS[0]]),
    ('empty tags', tags(lambda t: b''), train(), 'Data', ['has no line for', IDS[0]]),
]  # fmt: skip


@cases(LISTED)
def test_lists_and_tags(place, damage, case, kind, parts):
    damage(place)
    refused(place, case, kind, parts)


# ------------------------------------------------------------------- images and masks


def saved(name, image, **settings):
    def damage(place):
        image.save(getattr(place, name)(), **settings)

    return damage


def folder_of(name):
    def damage(place):
        path = getattr(place, name)()
        path.unlink()
        path.mkdir()

    return damage


FRESH = seeds('--out', '{root}/fresh')
IMAGE = f'JPEGImages/{IDS[1]}.jpg'
MASK = f'SegmentationClass/{IDS[1]}.png'
PIXELS = [
    ('image cut', cut('image', 200), FRESH, 'Data', ['cannot be read', IMAGE, 'take it off the split']),
    ('image cut, training', cut('image', 200), train(), 'Data', ['cannot be read', IMAGE]),
    ('image empty', written('image', b''), FRESH, 'Data', ['cannot be read', IMAGE]),
    ('image is text', written('image', b'<html>404</html>'), FRESH, 'Data', ['cannot be read', IMAGE]),
    ('image is gone', lambda p: p.image().unlink(), FRESH, 'Data', ['not found', IMAGE, 'restore it']),
    ('image is a folder', folder_of('image'), FRESH, 'Data', ['cannot be read', IMAGE]),
    ('image claims 4 gigapixels', written('image', png_of(65535, 65535)), FRESH, 'Data', [IMAGE, 'claims 65535x65535 pixels, more than']),
    ('image of floats', saved('image', Image.new('F', (9, 9)), format='TIFF'), FRESH, 'Data', [IMAGE, 'save it with 8 or 16 bits']),
    ('mask is gone', lambda p: p.mask().unlink(), measure(), 'Data', ['mask not found', MASK, 'seg_map_path']),
    ('mask cut', cut('mask', 60), measure(), 'Data', ['cannot be read', MASK]),
    ('mask of colours', saved('mask', Image.new('RGB', (40, 60))), measure(), 'Data', [MASK, 'has 3 channels', 'expected class indices']),
    ('mask of 16 bits', saved('mask', Image.fromarray(np.full((60, 40), 700, np.uint16))), measure(), 'Data', [MASK, '700..700', 'expected class indices 0..255']),
    ('mask of another size', saved('mask', Image.new('P', (60, 40))), measure(), 'Data', [MASK, 'is 60x40', 'must have the same size']),
    ('mask claims 4 gigapixels', written('mask', png_of(65535, 65535)), measure(), 'Data', [MASK, 'more than']),
    ('mask of background', saved('mask', Image.new('P', (40, 60))), measure(), 'Data', [MASK, 'shows no class']),
]  # fmt: skip


@cases(PIXELS)
def test_images_and_masks(place, damage, case, kind, parts):
    damage(place)
    refused(place, case, kind, parts)


# ------------------------------------------------------------------------ checkpoints


def bad(change):
    """Return a damage that writes bad.pth: bytes, or a changed checkpoint."""
    return lambda place: place.bad(change(place))


def changed(**parts):
    return bad(lambda place: dict(place.state(), **parts))


def weights(change):
    def damage(place):
        content = place.state()
        change(content['state_dict'])
        place.bad(content)

    return damage


def pack_compressed(place):
    place.bad(place.state())
    compressed(place.root / 'bad.pth')


def no_name(place):
    (place.root / 'work/last_checkpoint').write_bytes(b'\xff\xfe')


BAD = '{root}/bad.pth'
TORN = [BAD, 'cannot be read as a checkpoint', 'copy it again']
CODE = [BAD, 'objects other than', 're-save it as a plain state dict']
REPEATED = torch.zeros(1).expand(1 << 20, 1 << 20)
FILES = [
    ('absent', nothing, measure(BAD), 'Checkpoint', ['no checkpoint at', BAD, 'check the path']),
    ('empty', bad(lambda p: b''), measure(BAD), 'Checkpoint', TORN),
    ('text', bad(lambda p: b'<html>404</html>'), measure(BAD), 'Checkpoint', [BAD]),
    ('cut', bad(lambda p: p.checkpoint.read_bytes()[:-3000]), resume(), 'Checkpoint', TORN),
    ('trap', bad(lambda p: dict(p.state(), x=Trap(p.sprung))), measure(BAD), 'Checkpoint', CODE),
    ('trap, resumed', bad(lambda p: dict(p.state(), x=Trap(p.sprung))), resume(), 'Checkpoint', CODE),
    ('trap, seeds', bad(lambda p: dict(p.state(), x=Trap(p.sprung))), seeds(checkpoint=BAD), 'Checkpoint', CODE),
    ('trap, published', bad(lambda p: dict(p.state(), x=Trap(p.sprung))), command('publish', BAD, '{root}/p.pth'), 'Checkpoint', CODE),
    ('trap, loaded', bad(lambda p: dict(p.state(), x=Trap(p.sprung))), train('load_from={root}/bad.pth'), 'Checkpoint', CODE),
    ('trap, initialized', bad(lambda p: dict(p.state(), x=Trap(p.sprung))), train('model.init_cfg.type=Pretrained', 'model.init_cfg.checkpoint={root}/bad.pth'), 'Checkpoint', CODE),
    ('raw pickle', bad(lambda p: raw_pickle(Trap(p.sprung))), measure(BAD), 'Checkpoint', [BAD]),
    ('compressed records', pack_compressed, measure(BAD), 'Checkpoint', [BAD, 'compressed records', 'not loaded']),
    ('absurd shape', changed(x=REPEATED), measure(BAD), 'Checkpoint', [BAD, 'claims the shape (1048576, 1048576)']),
    ('list', bad(lambda p: [1]), measure(BAD), 'Checkpoint', [BAD]),
    ('weights are a list', changed(state_dict=[1]), measure(BAD), 'Checkpoint', [BAD, 'state_dict']),
    ('weights are texts', changed(state_dict={'a': 'b'}), seeds(checkpoint=BAD), 'Checkpoint', [BAD, 'state_dict']),
    ('of another model', changed(state_dict={'a': torch.ones(1)}), measure(BAD), 'Checkpoint', [BAD, 'belongs to another model']),
    ('a weight is gone', weights(lambda w: w.pop('cls_head.weight')), measure(BAD), 'Checkpoint', [BAD, 'cls_head.weight is absent there', 'use the config']),
    ('other classes', weights(lambda w: w.update({'cls_head.weight': torch.ones(7, 24)})), seeds(checkpoint=BAD), 'Checkpoint', ['(7, 24) there and (20, 24) here']),
    ('weights are not finite', weights(lambda w: w['cls_head.weight'].fill_(torch.nan)), seeds('--out', '{root}/fresh', checkpoint=BAD), 'Checkpoint', [BAD, 'not finite', 'earlier checkpoint']),
    ('nothing to resume by', bad(lambda p: dict(state_dict=p.state()['state_dict'])), resume(), 'Checkpoint', [BAD, 'resume from one that the training wrote']),
    ('folder without any', nothing, measure('{voc}'), 'Checkpoint', ['{voc} holds no last checkpoint', 'train there first']),
    ('name of the last is no text', no_name, measure('{root}/work'), 'Checkpoint', ['{root}/work holds no last checkpoint']),
]  # fmt: skip


def test_a_program_among_the_meta_data_is_not_run(place):
    """mmengine executes ``meta.config`` of a checkpoint that a training resumes from."""
    content = place.state()
    content['meta']['config'] = f"open({str(place.sprung)!r}, 'w').close()"
    place.bad(content)
    code, lines = run(place, resume())
    assert code == 0, lines
    assert not place.sprung.exists()
    assert (place.root / 'work/epoch_2.pth').exists()


@cases(FILES)
def test_checkpoints(place, damage, case, kind, parts):
    damage(place)
    refused(place, case, kind, parts)
