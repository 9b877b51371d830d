"""Colours of classes for data sets that have none of their own."""

from __future__ import annotations

BITS = 8


def class_palette(num_classes: int) -> list[list[int]]:
    """Return distinguishable colours, the same at every call, black for index 0.

    The rule of PASCAL VOC: the bits of the index go in turn to red, green and blue,
    the lowest to the highest bit of a colour.

    Args:
        num_classes: Classes, background included.

    Returns:
        One [red, green, blue] a class, 0..255.

    Raises:
        ValueError: if there are more classes than 8-bit labels can hold.

    Example:
        >>> class_palette(4)
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    if not 1 <= num_classes <= 2**BITS:
        raise ValueError(f'num_classes: expected 1..{2**BITS}, got {num_classes}')
    return [
        [_spread(index >> channel) for channel in range(3)]
        for index in range(num_classes)
    ]


def _spread(index: int) -> int:
    """Take every third bit of an index, the lowest as the highest of a byte."""
    bits = range(0, BITS, 3)
    return sum((index >> bit & 1) << (7 - bit // 3) for bit in bits)
