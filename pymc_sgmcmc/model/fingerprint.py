"""Noticing that a model changed after something was built from it."""

import hashlib
import re
import zlib
from collections.abc import Collection, Iterable

import numpy as np
from pymc.model import Model
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import toposort
from pytensor.link.jax.ops import JAXOp
from pytensor.tensor.type import TensorType

from pymc_sgmcmc.model.graphs import is_shared_value, leaves
from pymc_sgmcmc.model.jax_functions import traced
from pymc_sgmcmc.model.plain import plain
from pymc_sgmcmc.model.rows import is_array, value_of

# Numbers up to which an array that is written into a model is no data.
_FEW = 16


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
        self._values = {v: self._of(v) for v in _values(plain(model))}

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


def structure(graph: Variable) -> str:
    """Digest of what a graph computes, the same in every process.

    Of data only the types count, not the shapes, and of other leaves the names.
    """
    return hashlib.blake2b("\n".join(_lines(graph)).encode(), digest_size=8).hexdigest()


def data_of(model: Model) -> dict[str, list]:
    """Shape, dtype and checksum of all arrays that a model holds, by their names.

    Those without a name are counted. A few numbers in the code are part of the `structure`.
    """
    found: dict[str, list] = {}
    graphs = [*_variables(model), *model.deterministics]
    for variable in filter(_is_data, leaves(graphs)):
        name = variable.name or f"array {sum(k.startswith('array ') for k in found) + 1}"
        found[name] = described(value_of(variable))
    return found


def described(array: np.ndarray) -> list:
    """Shape, dtype and checksum of an array, as JSON can hold them."""
    x = np.asarray(array)
    return [list(x.shape), x.dtype.str, _checksum(x)]


def _lines(graph: Variable) -> list[str]:
    """One line for each leaf and each operation."""
    numbers: dict[Variable, int] = {}
    lines = []
    for leaf in leaves([graph]):
        numbers[leaf] = len(numbers)
        lines.append(_leaf(leaf))
    for node in toposort([graph]):
        lines.append(f"{_operation(node.op)} {[numbers[v] for v in node.inputs]}")
        for v in node.outputs:
            numbers[v] = len(numbers)
            lines.append(_type(v))
    return [*lines, str(numbers[graph])]


def _leaf(variable: Variable) -> str:
    if isinstance(variable, Constant) and not _is_data(variable):
        return f"{_type(variable)} {variable.data!r}"
    named = isinstance(variable.type, TensorType)  # not the state of a generator
    return f"{_type(variable)} {variable.name if named else ''}"


def _type(variable: Variable) -> str:
    """Type of a variable, but for its shape, which is the data's."""
    if isinstance(variable.type, TensorType):
        return f"{variable.type.dtype} {variable.type.ndim}"
    return type(variable.type).__name__


def _is_data(variable: Variable) -> bool:
    """Whether a variable holds data, rather than a few numbers of a prior."""
    return is_shared_value(variable) or (is_array(variable) and np.size(value_of(variable)) > _FEW)


def _operation(op: object) -> str:
    inner = ""
    if isinstance(op, HasInnerGraph):
        inner = " ".join(structure(v) for v in op.fgraph.outputs)
    elif isinstance(op, JAXOp) and (found := traced(op)) is not None:
        inner = f"{found[0]} {digest(found[1])}"
    # Where an object lies in memory is nothing of it.
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(op).__name__} {op} {inner}")


def _variables(model: Model) -> list[Variable]:
    return [*model.basic_RVs, *(model.rvs_to_values[v] for v in model.basic_RVs), *model.potentials]


def _values(model: Model) -> list[Variable]:
    """Shared data, and plain arrays, which share their memory with the user's."""
    return [v for v in leaves(_variables(model)) if is_shared_value(v) or is_array(v)]
