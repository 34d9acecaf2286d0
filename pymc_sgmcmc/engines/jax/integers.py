"""Whether the integers of a program fit in 32 bits, which is what JAX has beside float32."""

import math
from collections.abc import Sequence

import numpy as np
from pytensor.graph.basic import Apply, Constant
from pytensor.scalar.basic import Add, Mul, Pow, Sqr, Sub
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, Elemwise
from pytensor.tensor.extra_ops import CumOp
from pytensor.tensor.math import Dot
from pytensor.tensor.type import TensorType

from pymc_sgmcmc.engines.programs import Program
from pymc_sgmcmc.model.graphs import values_read

_LARGEST = 2**31 - 1
# Sums and products of two such integers fit.
_FACTOR = 2**15


def needs_64_bits(program: Program, rows: Sequence[np.ndarray]) -> bool:
    """Whether integers of the data, or what a program makes of them, may not fit in 32 bits.

    Parameters
    ----------
    program : Program
        Its last inputs stand for rows of `rows`.
    rows : sequence of ndarray
        Row data.
    """
    read = dict.fromkeys(v for output in program.outputs for v in values_read(output))
    constants = [v for v in read if isinstance(v, Constant) and isinstance(v.type, TensorType)]
    values = [*rows, *(np.asarray(v.data) for v in constants)]
    largest = max(map(_magnitude, values), default=0)
    if largest > _LARGEST:
        return True
    symbols = set(program.inputs[len(program.inputs) - len(rows) :])
    tables = {v for v in constants if v.type.ndim}
    nodes = dict.fromkeys(v.owner for v in read if v.owner is not None)
    return any(
        not _fits(node, largest)
        and any((symbols | tables) & set(values_read(v)) for v in node.inputs)
        for node in nodes
    )


def _fits(node: Apply, largest: int) -> bool:
    """Whether integer arithmetic with numbers of at most this magnitude stays in 32 bits."""
    (output, *_), op = node.outputs, node.op
    if not isinstance(output.type, TensorType) or output.type.dtype not in ("int64", "uint64"):
        return True
    if isinstance(op, Elemwise):
        return largest <= _FACTOR or not isinstance(op.scalar_op, Add | Sub | Mul | Sqr | Pow)
    if isinstance(op, CAReduce | CumOp):
        shape = node.inputs[0].type.shape
        return None not in shape and largest * math.prod(shape) <= _LARGEST
    return not isinstance(op.core_op if isinstance(op, Blockwise) else op, Dot)


def _magnitude(x: np.ndarray) -> int:
    return max(abs(int(x.min())), abs(int(x.max()))) if x.dtype.kind in "iu" and x.size else 0
