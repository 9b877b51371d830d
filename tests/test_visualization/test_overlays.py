"""Overlays against pixels worked by hand."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mmwsss.visualization.overlays import data_uri, heat_overlay, label_overlay

PALETTE = [(0, 0, 0), (200, 0, 100)]
GREY = np.full((8, 8, 3), 100, np.uint8)


def test_heat_shows_the_ends_of_the_scale():
    scores = np.zeros((8, 8), np.float32)
    scores[0, 0] = 1
    heat = heat_overlay(GREY, scores, opacity=1.0)
    # inferno ends at #000004 and #fcffa4
    assert heat[0, 0].tolist() == [252, 255, 164]
    assert (heat.reshape(-1, 3)[1:] == [0, 0, 4]).all()


def test_heat_is_mixed_with_the_grey_image():
    image = np.zeros((1, 1, 3), np.uint8)
    image[..., 1] = 200  # luminance 0.587 * 200 = 117.4
    mixed = heat_overlay(image, np.ones((1, 1)), opacity=0.5)
    expected = 0.5 * 117.4 + 0.5 * np.array([252, 255, 164])
    np.testing.assert_allclose(mixed[0, 0], expected, atol=1)


def test_labels_have_their_colours_and_background_is_dark():
    labels = np.zeros((8, 8), np.uint8)
    labels[2, 3] = 1
    drawn = label_overlay(GREY, labels, PALETTE, opacity=0.5, background_brightness=0.4)
    assert drawn[2, 3].tolist() == [150, 50, 100]
    assert (drawn[labels == 0] == 40).all()


def test_undecided_pixels_are_striped():
    labels = np.full((24, 24), 255, np.uint8)
    image = np.zeros((24, 24, 3), np.uint8)
    drawn = label_overlay(image, labels, PALETTE, opacity=1.0)[..., 0]
    assert set(np.unique(drawn)) == {90, 235}
    assert len(set(drawn[0])) == 2
    # diagonal: a step down and a step left meet the same stripe
    np.testing.assert_array_equal(drawn[1:, :-1], drawn[:-1, 1:])


@pytest.mark.parametrize('draw', [heat_overlay, label_overlay])
def test_other_sizes_are_refused(draw):
    arguments = [] if draw is heat_overlay else [PALETTE]
    with pytest.raises(ValueError, match=r'expected \(H, W\) of the image'):
        draw(GREY, np.zeros((8, 7), np.uint8), *arguments)


def test_label_without_colour_is_refused():
    with pytest.raises(ValueError, match='expected 0..1 or 255, got 7'):
        label_overlay(GREY, np.full((8, 8), 7, np.uint8), PALETTE)


def test_data_uri_holds_the_picture_made_smaller():
    head, _, content = data_uri(np.zeros((20, 40, 3), np.uint8), max_side=10).partition(
        ','
    )
    assert head == 'data:image/jpeg;base64'
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert (image.format, image.size) == ('JPEG', (10, 5))
