"""Where the windows of a convolution lie along an axis of an image."""

from typing import Any


def count(length: Any, size: Any, stride: int, same: bool) -> Any:
    """Windows of some size, each a stride after the one before: numbers or symbols.

    Parameters
    ----------
    length, size : int or Variable
        Of the image, and of a window.
    stride : int
    same : bool
        Whether zeros are put around the image for ⌈length/stride⌉ windows. Otherwise as many as
        lie within.
    """
    return -(-length // stride) if same else (length - size) // stride + 1


def zeros(length: int, size: int, stride: int, same: bool) -> tuple[int, int]:
    """Zeros before and after the image: as evenly as can be, and one more at the end."""
    if not same:
        return 0, 0
    needed = max((count(length, size, stride, same) - 1) * stride + size - length, 0)
    return needed // 2, needed - needed // 2
