"""Shape checks whose message carries what was expected and what came."""

from collections.abc import Sequence

from torch import Tensor


def check_area(name: str, maps: Tensor) -> None:
    """Check that maps (..., H, W) have a pixel.

    Args:
        name: Argument name for the message.
        maps: Any dtype, two axes or more.

    Raises:
        ValueError: if the last two axes hold none.

    Example:
        >>> import torch
        >>> check_area('maps', torch.zeros(3, 0, 7))
        Traceback (most recent call last):
        ...
        ValueError: maps: expected at least one pixel, got shape (3, 0, 7)
    """
    if 0 in maps.shape[-2:]:
        raise ValueError(
            f'{name}: expected at least one pixel, got shape {tuple(maps.shape)}'
        )


def check_shape(name: str, tensor: Tensor, pattern: Sequence[str | int]) -> None:
    """Check a tensor against a pattern of letters and numbers.

    Args:
        name: Argument name for the message.
        tensor: Tensor of any dtype.
        pattern: One entry an axis; a number must match, a letter stands for any
            size, and the same letter for the same size.

    Raises:
        ValueError: if the number of axes or a size differs.

    Example:
        >>> import torch
        >>> check_shape('cam', torch.zeros(4, 20, 32), ('B', 'K', 'H', 'W'))
        Traceback (most recent call last):
        ...
        ValueError: cam: expected shape (B, K, H, W), got (4, 20, 32)
    """
    sizes: dict[str | int, int] = {}
    matches = tensor.ndim == len(pattern)
    if matches:
        for letter, size in zip(pattern, tensor.shape):
            expected = (
                letter if isinstance(letter, int) else sizes.setdefault(letter, size)
            )
            matches = matches and size == expected
    if not matches:
        expected_text = ', '.join(str(letter) for letter in pattern)
        raise ValueError(
            f'{name}: expected shape ({expected_text}), got {tuple(tensor.shape)}'
        )
