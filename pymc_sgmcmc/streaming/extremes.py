"""Rows that hold the extreme values of an array, found a block at a time."""

from collections.abc import Callable

import numpy as np

BLOCK = 2**16
# Arrays with more columns are searched as a whole.
_COLUMNS = 100


def extreme_rows(read: Callable[[int, int], np.ndarray], n_rows: int) -> np.ndarray:
    """Numbers of the rows with the least and the greatest value of every column, or a nan.

    Parameters
    ----------
    read : callable
        Gives the rows from one number to before another, ``(k, ...)``.
    n_rows : int

    Returns
    -------
    ndarray
        Sorted, each once.
    """
    least, most = _Extreme(np.min, np.argmin, np.less), _Extreme(np.max, np.argmax, np.greater)
    for first in range(0, n_rows, BLOCK):
        block = read(first, min(first + BLOCK, n_rows))
        columns = block.reshape(len(block), -1)
        if columns.size:
            least.look(columns, first)
            most.look(columns, first)
    return np.unique(np.concatenate([least.rows, most.rows]))


class _Extreme:
    """Rows of the extreme values seen so far, on one side."""

    def __init__(self, value: Callable, place: Callable, beyond: Callable) -> None:
        self._value, self._place, self._beyond = value, place, beyond
        self.rows, self._values = np.zeros(0, int), np.zeros(0)

    def look(self, columns: np.ndarray, first: int) -> None:
        """Look at some more rows ``(k, columns)``."""
        if columns.shape[1] > _COLUMNS:
            columns = self._value(columns, 1)[:, None]
        here = self._value(columns, 0)
        if not self.rows.size:
            self.rows, self._values = first + self._place(columns, 0), here
            return
        further = self._beyond(here, self._values)
        if here.dtype.kind == "f":
            further |= np.isnan(here) & ~np.isnan(self._values)
        if further.any():
            self.rows[further] = first + self._place(columns[:, further], 0)
            self._values[further] = here[further]
