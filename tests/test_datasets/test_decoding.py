"""Images as users have them, against pixels worked out by hand."""

import io

import mmcv
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets.transforms import LoadImage, LoadMask
from mmwsss.datasets.transforms.decoding import CANVAS, decode_image
from mmwsss.utils.errors import DataError

ROTATED = 6  # EXIF: turn by 90 degrees clockwise to see it upright
ORIENTATION = 0x0112


def written(image, kind, **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def decoded(content):
    return decode_image(content, flag='color', backend='pillow')


def exif(value):
    tags = Image.Exif()
    tags[ORIENTATION] = value
    return tags


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP'])
def test_ordinary_images_are_as_mmcv_decodes_them(pixels, kind):
    content = written(Image.fromarray(pixels), kind)
    expected = mmcv.imfrombytes(content, flag='color', backend='pillow')
    assert np.array_equal(decoded(content), expected)
    if kind != 'JPEG':
        assert np.array_equal(decoded(content), pixels[..., ::-1])


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_grey_of_16_bits_keeps_its_high_byte(kind):
    values = np.array([[0, 255, 256], [511, 32768, 65535]], np.uint16)
    image = decoded(written(Image.fromarray(values), kind))
    assert image[..., 0].tolist() == [[0, 0, 1], [1, 128, 255]]
    assert (image == image[..., :1]).all()


@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_transparent_pixels_show_the_canvas(kind):
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, :, 0] = 200
    layers[0, :, 3] = 0, 128, 255
    settings = dict(lossless=True, exact=True) if kind == 'WEBP' else {}
    image = decoded(written(Image.fromarray(layers), kind, **settings))[0, :, ::-1]
    assert image[0].tolist() == list(CANVAS)
    assert image[2].tolist() == [200, 0, 0]
    half = [c + (v - c) * 128 / 255 for c, v in zip(CANVAS, (200, 0, 0))]
    assert image[1] == pytest.approx(half, abs=1)


def test_palette_with_a_transparent_entry():
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([9, 9, 9, 50, 60, 70])
    content = written(image, 'PNG', transparency=0)
    assert decoded(content)[0, :, ::-1].tolist() == [list(CANVAS), [50, 60, 70]]


def test_cmyk():
    """Ink of 0 is white paper, full cyan takes the red away."""
    inks = np.zeros((8, 16, 4), np.uint8)
    inks[:, 8:, 0] = 255
    for kind in ('JPEG', 'TIFF'):
        image = decoded(written(Image.fromarray(inks, 'CMYK'), kind))
        assert np.abs(image[4, 2].astype(int) - (255, 255, 255)).max() <= 2
        assert np.abs(image[4, 13].astype(int) - (255, 255, 0)).max() <= 2


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'I;16', 'CMYK'])
def test_orientation_is_applied_to_every_mode(mode):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    if mode == 'I;16':
        image = Image.fromarray(values.astype(np.uint16) * 256)
    elif mode == 'CMYK':
        ink = np.zeros((2, 3, 4), np.uint8)
        ink[..., 3] = 255 - values
        image = Image.fromarray(ink, 'CMYK')
    else:
        image = Image.fromarray(values).convert(mode)
    content = written(image, 'TIFF', exif=exif(ROTATED))
    found = decoded(content)
    assert found.shape == (3, 2, 3)
    expected = np.rot90(values, -1)  # clockwise
    assert np.array_equal(found[..., 0], expected)


def test_loader_reports_the_turned_size(tmp_path, pixels):
    path = tmp_path / 'Ünterwegs im Schnee.jpg'
    Image.fromarray(pixels).save(path, exif=exif(ROTATED))
    results = LoadImage()(dict(img_path=str(path)))
    assert results['img'].shape == (7, 5, 3)
    assert results['img_shape'] == results['ori_shape'] == (7, 5)
    assert LoadImage(to_float32=True)(results)['img'].dtype == np.float32


def test_mask_of_an_image_that_exif_turns(tmp_path, pixels):
    image, mask = tmp_path / 'a.jpg', tmp_path / 'a.png'
    Image.fromarray(pixels).save(image, exif=exif(ROTATED))
    Image.new('L', (7, 5)).save(mask)
    results = LoadImage()(dict(img_path=str(image), seg_map_path=str(mask)))
    results.update(seg_fields=[], label_map=None, reduce_zero_label=False)
    with pytest.raises(DataError, match=r'is 7x5, .* is 5x7 .*EXIF orientation turns'):
        LoadMask()(results)


@pytest.mark.parametrize(
    ('values', 'part'),
    [
        (np.ones((2, 2), np.float32), 'floating-point'),
        (np.full((2, 2), 70000, np.int32), r'70000\.\.70000, beyond 16 bits'),
    ],
)
def test_pixels_that_are_no_colours(tmp_path, values, part):
    path = tmp_path / 'depth.tif'
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=f'image cannot be read: .*depth.tif.*{part}'):
        LoadImage()(dict(img_path=str(path)))
