"""Noticing that a model changed after something was built from it."""

import zlib
from collections.abc import Collection, Iterable

import numpy as np
from pymc.model import Model
from pytensor.graph.basic import Variable

from pymc_sgmcmc.model.graphs import is_shared_value, leaves
from pymc_sgmcmc.model.rows import is_array, value_of


def digest(arrays: Iterable[np.ndarray]) -> tuple[object, ...]:
    """Shape, dtype and checksum of arrays: equal as long as they hold the same numbers.

    (An array in Fortran order differs from the same one in C order.)

    The checksum is CRC-32, which reads about 2 GB a second, the fastest of the standard library. It
    misses one change in four billion, and serves against accidents, not against intent. It is the
    same in every process.
    """
    return tuple((x.shape, x.dtype.str, _checksum(x)) for x in map(np.asarray, arrays))


def _checksum(x: np.ndarray) -> int:
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        x = x.T
    if x.flags.c_contiguous:
        return zlib.crc32(x)
    checksum = 0
    for part in x:  # never a copy of the whole array
        checksum = zlib.crc32(np.ascontiguousarray(part), checksum)
    return checksum


class Fingerprint:
    """What a model is made of: its variables, and the values it holds.

    Parameters
    ----------
    model : pm.Model
    ignore : collection of Variable
        Data of which only the shape counts.
    """

    def __init__(self, model: Model, ignore: Collection[Variable] = ()) -> None:
        self._variables, self._ignore = _variables(model), ignore
        # Not the arrays: they would change along when they are changed in place.
        self._values = {v: self._of(v) for v in _values(model)}

    def matches(self, model: Model) -> bool:
        """Whether the values are the same.

        Raises
        ------
        ValueError
            If variables were added to the model or taken from it.
        """
        if _variables(model) != self._variables:
            raise ValueError(
                "The model's variables changed after this step was made. Make a new step."
            )
        return all(self._of(v) == before for v, before in self._values.items())

    def _of(self, variable: Variable) -> tuple[object, ...]:
        value = value_of(variable)
        return np.shape(value) if variable in self._ignore else digest([value])


def _variables(model: Model) -> list[Variable]:
    return [*model.basic_RVs, *(model.rvs_to_values[v] for v in model.basic_RVs), *model.potentials]


def _values(model: Model) -> list[Variable]:
    """Shared data, and plain arrays, which share their memory with the user's."""
    return [v for v in leaves(_variables(model)) if is_shared_value(v) or is_array(v)]
