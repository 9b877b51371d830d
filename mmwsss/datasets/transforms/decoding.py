"""Decoding of photographs in the forms that users have them."""

from __future__ import annotations

import io

import mmcv
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmwsss.utils.label_codec import check_claim

PLAIN_MODES = frozenset({'1', 'L', 'P', 'RGB', 'CMYK', 'YCbCr', 'LAB', 'HSV'})
"""Modes whose pixels Pillow, as mmcv calls it, converts to RGB faithfully."""

CANVAS = (124, 117, 104)
"""RGB behind transparent pixels: ImageNet's mean, as mmcv takes for grey with alpha."""

DEEP_MODES = ('I', 'I;16', 'I;16L', 'I;16B', 'I;16N')
MAX_DEEP = 2**16 - 1


def decode_image(content: bytes, *, flag: str, backend: str) -> NDArray[np.uint8]:
    """Decode an image file.

    mmcv decodes, except where Pillow's plain conversion to RGB would lose the picture:
    grey of 16 bits keeps its high byte instead of being clipped to white, and
    transparent pixels show ``CANVAS`` instead of the colour hidden below. A file's
    EXIF orientation is applied.

    Args:
        content: The file.
        flag: mmcv's decoding flag; only ``color`` is refined.
        backend: mmcv's decoder; only ``pillow`` is refined.

    Returns:
        (H, W, 3) BGR for ``color``.

    Raises:
        ValueError: if the pixels are floating-point or exceed 16 bits, or a PNG claims
            more of them than its bytes can hold.
        OSError: of Pillow, if the bytes are no whole image.
    """
    check_claim(content)
    if backend == 'pillow' and flag == 'color':
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in PLAIN_MODES or 'transparency' in image.info:
                return _rgb(image)[..., ::-1]
    return mmcv.imfrombytes(content, flag=flag, backend=backend)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    orientation = image.getexif()
    if image.mode in DEEP_MODES:
        flat = _high_byte(image)
    elif image.mode == 'F':
        raise ValueError(
            'its pixels are floating-point numbers; save it with 8 or 16 bits a channel'
        )
    else:
        layers = image.convert('RGBA')
        flat = Image.new('RGB', image.size, CANVAS)
        flat.paste(layers, mask=layers.getchannel('A'))
    flat.getexif().update(orientation)
    return np.asarray(ImageOps.exif_transpose(flat).convert('RGB'))


def _high_byte(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > MAX_DEEP:
        raise ValueError(
            f'its pixels are {values.min()}..{values.max()}, beyond 16 bits; save it '
            'with 8 or 16 bits a channel'
        )
    return Image.fromarray((values >> 8).astype(np.uint8))
