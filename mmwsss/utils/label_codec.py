"""Label maps as palette PNG files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = 256
IGNORED_LABEL = 255
IGNORED_COLOUR = (224, 224, 192)  # VOC's
PNG_START = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
PNG_SIZE = struct.Struct('>II')
PNG_END = b'\0\0\0\0IEND\xaeB`\x82'
UNSOUND = (
    *(OSError, SyntaxError, EOFError, zlib.error, struct.error),
    Image.DecompressionBombError,
)
"""What Pillow raises of bytes that are no image, or one of too many pixels."""
MAX_RATIO = 1032
"""Bytes that deflate makes of one at most; a pixel is a bit at least."""


def check_claim(content: bytes) -> None:
    """Refuse a PNG whose header claims more pixels than its bytes can hold.

    Decoders make room for all of them before they read the first.

    Raises:
        ValueError: naming both.
    """
    if not content.startswith(PNG_START) or len(content) < len(PNG_START) + 8:
        return
    width, height = PNG_SIZE.unpack_from(content, len(PNG_START))
    if width * height > 8 * MAX_RATIO * len(content):
        raise ValueError(
            f'its header claims {width}x{height} pixels, more than {len(content)} '
            'bytes can hold'
        )


class LabelCodec:
    """Codec of an ``ArtefactStore`` of label maps, (H, W) uint8.

    Args:
        palette: One (red, green, blue) in 0..255 a class, the background first.

    Raises:
        ValueError: if there are more classes than labels.
    """

    kind = 'pseudo labels'
    version = 1
    suffix = '.png'
    sealed = False

    def __init__(self, palette: Sequence[Sequence[int]]) -> None:
        self.num_classes = len(palette)
        if not 0 < self.num_classes <= IGNORED_LABEL:
            raise ValueError(
                f'palette: expected 1..{IGNORED_LABEL} colours, got {self.num_classes}'
            )
        colours = np.zeros((COLOURS, 3), np.uint8)
        colours[: self.num_classes] = palette
        colours[IGNORED_LABEL] = IGNORED_COLOUR
        self.palette = colours.tobytes()

    def encode(self, value: NDArray[np.uint8]) -> bytes:
        """Return the file's bytes; raise ValueError if a label has no class."""
        self._check(value)
        image = Image.fromarray(value)
        image.putpalette(self.palette)
        buffer = io.BytesIO()
        image.save(buffer, 'PNG')
        return buffer.getvalue()

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Return the label map; raise ValueError if the bytes are none's."""
        if not content.endswith(PNG_END):
            raise ValueError('no sound PNG: its end is missing')
        check_claim(content)
        try:
            # reading alone does not check the checksums
            with Image.open(io.BytesIO(content), formats=['PNG']) as image:
                image.verify()
            with Image.open(io.BytesIO(content), formats=['PNG']) as image:
                mode, value = image.mode, np.array(image)
        except UNSOUND as error:
            raise ValueError(f'no sound PNG: {error}') from error
        if mode != 'P':
            raise ValueError(f'a PNG of mode {mode}, expected a palette')
        self._check(value)
        return value

    def _check(self, value: NDArray[np.uint8]) -> None:
        if value.ndim != 2 or value.dtype != np.uint8:
            raise ValueError(
                f'label map: expected (H, W) uint8, got {value.shape} {value.dtype}'
            )
        outside = value[(value >= self.num_classes) & (value != IGNORED_LABEL)]
        if len(outside):
            raise ValueError(
                f'label map: expected labels 0..{self.num_classes - 1} or '
                f'{IGNORED_LABEL}, got {outside.min()}'
            )
