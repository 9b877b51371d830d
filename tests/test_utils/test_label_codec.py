import io

import numpy as np
import pytest
from PIL import Image

from mmwsss.utils.label_codec import PNG_END, LabelCodec

PALETTE = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def label(seed=0):
    values = np.array([0, 1, 2, 255], np.uint8)
    return np.random.default_rng(seed).choice(values, (7, 9))


def png(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, **{'format': 'PNG', **settings})
    return buffer.getvalue()


def test_round_trip():
    codec = LabelCodec(PALETTE)
    np.testing.assert_array_equal(codec.decode(codec.encode(label())), label())
    assert codec.encode(label()) == LabelCodec(PALETTE).encode(label())


def test_other_programs_read_labels_and_colours():
    with Image.open(io.BytesIO(LabelCodec(PALETTE).encode(label()))) as image:
        assert image.mode == 'P'
        np.testing.assert_array_equal(np.array(image), label())
        colours = np.array(image.convert('RGB'))
    expected = np.array([*PALETTE, (224, 224, 192)], np.uint8)
    index = np.where(label() == 255, 3, label())
    np.testing.assert_array_equal(colours, expected[index])


def test_every_byte_counts():
    """No lost end and no changed byte goes unnoticed."""
    codec = LabelCodec(PALETTE)
    content = codec.encode(label())
    for end in range(len(content)):
        with pytest.raises(ValueError):
            codec.decode(content[:end])
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x55
        with pytest.raises(ValueError):
            codec.decode(bytes(changed))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (png(Image.fromarray(label())), 'mode L, expected a palette'),
        (png(Image.fromarray(label()).convert('RGB')), 'mode RGB, expected a palette'),
        (png(Image.fromarray(label()), format='BMP') + PNG_END, 'no sound PNG: cannot'),
        (LabelCodec(PALETTE * 2).encode(np.full((2, 2), 5, np.uint8)), 'got 5'),
    ],
)
def test_other_files(content, message):
    with pytest.raises(ValueError, match=message):
        LabelCodec(PALETTE).decode(content)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (np.full((2, 2), 3, np.uint8), r'expected labels 0\.\.2 or 255, got 3'),
        (np.zeros((2, 2), np.int64), r'expected \(H, W\) uint8, got \(2, 2\) int64'),
        (np.zeros((2, 2, 1), np.uint8), r'expected \(H, W\) uint8, got \(2, 2, 1\)'),
    ],
)
def test_values_that_are_no_labels(value, message):
    with pytest.raises(ValueError, match=message):
        LabelCodec(PALETTE).encode(value)


@pytest.mark.parametrize('count', [0, 256])
def test_number_of_classes(count):
    with pytest.raises(ValueError, match=rf'expected 1\.\.255 colours, got {count}'):
        LabelCodec([(0, 0, 0)] * count)
