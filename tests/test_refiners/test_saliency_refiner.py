import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmwsss.functional.refinement.saliency_label import saliency_label
from mmwsss.refiners import DenseCRFRefiner, SaliencyRefiner, build_refiner
from mmwsss.utils.errors import ConfigError, DataError, DependencyError

MAPS = torch.tensor([[[0.1, 0.7, 0.95, 0.4]], [[0.2, 0.5, 0.92, 0.3]]])
IMAGE = np.zeros((1, 4, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(np.array([[0, 255, 255, 80]], np.uint8)).save(tmp_path / 'a.png')
    return tmp_path


def refiner_of(folder, **settings):
    return build_refiner(dict(type='saliency', folder=str(folder), **settings))


def test_labels_by_hand(folder):
    """Background, class, two classes, salient background: 1 - 80/255 = 0.69 > 0.4."""
    refiner = refiner_of(folder, crf=None).for_image('a')
    assert refiner(MAPS, IMAGE, (3, 8)).tolist() == [[0, 4, 255, 255]]


def test_settings_reach_the_rule(folder):
    settings = dict(conflict=0.93, salient=0.4, least_share=0.5)
    refiner = refiner_of(folder, crf=None, **settings).for_image('a')
    assert refiner(MAPS, IMAGE, (3, 8)).tolist() == [[0, 4, 4, 0]]
    settings['least_share'] = 0.51
    refiner = refiner_of(folder, crf=None, **settings).for_image('a')
    assert refiner(MAPS, IMAGE, (3, 8)).tolist() == [[255] * 4]


def test_maps_of_images_in_folders(folder):
    (folder / 'b').mkdir()
    (folder / 'a.png').rename(folder / 'b/a_sal.png')
    refiner = refiner_of(folder, crf=None, suffix='_sal.png').for_image('b/a')
    assert refiner(MAPS, IMAGE, (3, 8)).tolist() == [[0, 4, 255, 255]]


def test_crf_takes_part(folder):
    pytest.importorskip('pydensecrf.densecrf')
    random = np.random.default_rng(0)
    image = random.integers(0, 30, (20, 24, 3)).astype(np.uint8)
    image[4:16, 4:20] += 100
    maps = torch.from_numpy(random.random((2, 20, 24)) * 0.2).float()
    maps[0, 6:14, 6:18] += 0.6
    saliency = np.zeros((20, 24), np.uint8)
    saliency[8:12, 8:16] = 255
    Image.fromarray(saliency).save(folder / 'c.png')
    refiner = refiner_of(folder, crf=dict(preset='deeplabv2')).for_image('c')
    crf = DenseCRFRefiner(preset='deeplabv2')
    refined = crf.marginals(torch.cat([*crf.backgrounds(maps), maps]), image)[1:]
    expected = saliency_label(
        maps, (2, 5), torch.from_numpy(saliency) / 255, refined, ignore_index=255
    )
    label = refiner(maps, image, (2, 5))
    np.testing.assert_array_equal(label, expected)
    plain = refiner_of(folder, crf=None).for_image('c')(maps, image, (2, 5))
    assert ((label == 255) & (plain == 0)).any()


def test_settings_name_every_value(folder):
    refiner = refiner_of(folder, crf=None)
    expected = dict(
        type='SaliencyRefiner',
        folder=str(folder),
        suffix='.png',
        conflict=0.9,
        salient=32 / 255,
        crf=None,
        certain=0.8,
        least_share=0.01,
    )
    assert refiner.settings() == refiner.for_image('a').settings() == expected
    assert refiner.extra_supervision == 'saliency'


def test_settings_of_the_crf(folder):
    pytest.importorskip('pydensecrf.densecrf')
    crf = refiner_of(folder, crf=dict(preset='irn')).for_image('a').settings()['crf']
    own = DenseCRFRefiner(preset='irn').settings()
    assert crf == {name: value for name, value in own.items() if name != 'type'}


def test_absent_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(DependencyError, match=r"pip install 'mmwsss\[crf\]'"):
        refiner_of(folder)
    assert refiner_of(folder, crf=None).crf is None


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(folder=''), "refiner.folder: expected a folder of saliency maps, got ''"),
        (dict(folder='/no/where'), "got '/no/where'; name it with --cfg-options"),
        (dict(conflict=1.1), r'refiner.conflict: expected 0..1, got 1.1'),
        (dict(salient=32), r'refiner.salient: expected 0..1, got 32'),
        (dict(least_share=-1), r'refiner.least_share: expected 0..1, got -1'),
    ],
)
def test_unusable_settings(folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        SaliencyRefiner(**{'folder': str(folder), 'crf': None, **settings})


def test_missing_map(folder):
    refiner = refiner_of(folder, crf=None)
    with pytest.raises(DataError, match=f'{folder}/z.png is missing: refiner.folder m'):
        refiner.for_image('z')(MAPS, IMAGE, (3, 8))
    with pytest.raises(ConfigError, match='name the image first'):
        refiner(MAPS, IMAGE, (3, 8))


def test_maps_that_do_not_fit(folder):
    refiner = refiner_of(folder, crf=None).for_image('a')
    path = folder / 'a.png'
    Image.new('L', (3, 1)).save(path)
    with pytest.raises(DataError, match=r'a.png is L of 3x1, expected .* of 4x1 \(w'):
        refiner(MAPS, IMAGE, (3, 8))
    Image.new('RGB', (4, 1)).save(path)
    with pytest.raises(DataError, match='a.png is RGB of 3x4x1, expected 8-bit grey'):
        refiner(MAPS, IMAGE, (3, 8))
    path.write_bytes(b'no picture')
    with pytest.raises(DataError, match=f'saliency map cannot be read: {path}'):
        refiner(MAPS, IMAGE, (3, 8))
