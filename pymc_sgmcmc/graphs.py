"""Copying a PyTensor graph with other leaves, whatever shapes and dtypes it was built with."""

from collections.abc import Mapping, Sequence

from pytensor.compile.builders import OpFromGraph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.traversal import graph_inputs, toposort
from pytensor.tensor.basic import Alloc
from pytensor.tensor.shape import SpecifyShape
from pytensor.tensor.type import TensorType
from pytensor.tensor.type_other import NoneConst


def rebuild(
    outputs: Sequence[Variable],
    replacements: Mapping[Variable, Variable],
    dtype: str | None = None,
) -> list[Variable]:
    """Copy a graph with some of its variables replaced, node by node.

    ``graph_replace`` insists that a replacement has the static shape of what it replaces, and
    nodes carry their static shapes along. Here every node below a replaced variable is made
    anew from its new inputs, so that ``(N, d)`` may become ``(B, d)`` and float64 float32.

    Parameters
    ----------
    outputs : sequence of Variable
        Outputs of the graph to copy; the graph itself is left alone.
    replacements : mapping of Variable to Variable
        What takes the place of what. Ranks must agree; shapes and dtypes need not.
    dtype : {"float32", "float64"}, optional
        If given, every floating-point constant and every node's result that differs is
        converted to it.

    Returns
    -------
    list of Variable
        The copies, in the order of `outputs`.
    """
    copies = dict(replacements)
    if dtype is not None:
        for leaf in graph_inputs(outputs, blockers=list(replacements)):
            if isinstance(leaf, Constant) and leaf not in copies and _is_float(leaf):
                copies[leaf] = _as_dtype(leaf, dtype)
    for node in toposort(outputs, blockers=list(copies)):
        if all(v in copies for v in node.outputs):
            continue
        inputs = [copies.get(v, v) for v in node.inputs]
        if inputs == node.inputs and not (dtype and any(map(_is_float, node.outputs))):
            continue
        for old, new in zip(node.outputs, _remake(node, inputs, dtype), strict=True):
            copies.setdefault(old, _as_dtype(new, dtype) if dtype else new)
    return [copies.get(v, v) for v in outputs]


def _is_float(variable: Variable) -> bool:
    return isinstance(variable.type, TensorType) and variable.type.dtype in ("float32", "float64")


def _as_dtype(variable: Variable, dtype: str) -> Variable:
    if not _is_float(variable) or variable.type.dtype == dtype:
        return variable
    if isinstance(variable, Constant):
        return type(variable)(variable.type.clone(dtype=dtype), variable.data.astype(dtype))
    return variable.astype(dtype)


def _remake(node: Apply, inputs: list[Variable], dtype: str | None) -> list[Variable]:
    """Apply the node's operation to other inputs."""
    op = node.op
    if isinstance(op, Alloc):
        inputs = [inputs[0], *_broadcast_shape(node.inputs[0], inputs[0], inputs[1:])]
    elif isinstance(op, SpecifyShape):
        known = inputs[0].type.shape
        inputs = [
            inputs[0],
            *(s if d is None else NoneConst for s, d in zip(inputs[1:], known, strict=True)),
        ]
    elif isinstance(op, OpFromGraph):
        # Its inner graph has static shapes and dtypes of its own: copy that instead.
        return rebuild(op.inner_outputs, dict(zip(op.inner_inputs, inputs, strict=True)), dtype)
    return op.make_node(*inputs).outputs


def _broadcast_shape(old: Variable, new: Variable, shape: list[Variable]) -> list[Variable]:
    """Shape of an Alloc whose value has another length now: where it fills an axis, its own."""
    offset = len(shape) - new.type.ndim
    return [
        length if axis < offset or old.type.shape[axis - offset] == 1 else new.shape[axis - offset]
        for axis, length in enumerate(shape)
    ]


def leaves(outputs: Sequence[Variable]) -> list[Variable]:
    """Variables without an owner that a graph depends on, constants included, each once."""
    return list(dict.fromkeys(graph_inputs(outputs)))


def is_shared_value(variable: Variable) -> bool:
    """Whether a variable is shared data, rather than the state of a random generator."""
    return isinstance(variable, SharedVariable) and isinstance(variable.type, TensorType)
