"""What a PNG's header may claim: all that its bytes can hold, and no pixel more."""

import io
import struct

import numpy as np
import pytest
from bad_input_place import png_of
from PIL import Image

from mmwsss.datasets.transforms.decoding import decode_image
from mmwsss.utils.label_codec import LabelCodec, check_claim

CODEC = LabelCodec([(0, 0, 0), (1, 2, 3)])


def written(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, 'PNG', **settings)
    return buffer.getvalue()


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB'])
@pytest.mark.parametrize('size', [(1, 1), (2000, 1500), (9000, 1), (1, 9000)])
def test_the_emptiest_images_are_taken(mode, size):
    """As deflate packs them best, a pixel takes least."""
    content = written(Image.new(mode, size), compress_level=9)
    check_claim(content)
    assert decode_image(content, flag='color', backend='pillow').shape[:2] == size[::-1]


def test_labels_of_one_class_are_taken():
    label = np.ones((1500, 1000), np.uint8)
    assert np.array_equal(CODEC.decode(CODEC.encode(label)), label)


def test_claims_beyond_the_bytes(monkeypatch):
    def no_room(*_):
        raise AssertionError('room was made')

    content = png_of(65535, 2000)
    monkeypatch.setattr(Image.Image, 'load', no_room)
    for decode in (
        check_claim,
        CODEC.decode,
        lambda found: decode_image(found, flag='color', backend='pillow'),
    ):
        with pytest.raises(
            ValueError, match=r'claims 65535x2000 pixels, more than \d+ b'
        ):
            decode(content)


def test_what_pillow_refuses_is_refused_in_our_words():
    # as many bytes as could hold so many pixels, behind the end of the picture
    content = png_of(20000, 20000, bytes(np.random.default_rng(0).bytes(60000)))
    check_claim(content)
    with pytest.raises(ValueError, match='no sound PNG: Image size .* exceeds limit'):
        CODEC.decode(content)


@pytest.mark.parametrize('content', [b'', b'\x89PNG', b'\xff\xd8 a photograph'])
def test_other_bytes_claim_nothing(content):
    check_claim(content)


def test_a_header_cut_short_claims_nothing():
    content = png_of(65535, 65535)
    place = content.index(struct.pack('>II', 65535, 65535))
    check_claim(content[: place + 7])
    with pytest.raises(ValueError, match='claims'):
        check_claim(content[: place + 8])
