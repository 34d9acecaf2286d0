"""Copying a PyTensor graph with other leaves, whatever shapes and dtypes it was built with."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from pymc.model import Model
from pytensor import scalar
from pytensor.compile.builders import OpFromGraph, SymbolicOp
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import ancestors, graph_inputs, toposort, walk
from pytensor.link.jax.ops import JAXOp
from pytensor.scan.op import Scan
from pytensor.tensor.basic import Alloc, AllocEmpty, MakeVector
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, Elemwise
from pytensor.tensor.math import Dot
from pytensor.tensor.shape import Shape, Shape_i, SpecifyShape
from pytensor.tensor.type import TensorType
from pytensor.tensor.type_other import NoneConst
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.model import jax_functions

CANT_COMPILE = (NotImplementedError, TypeError, IndexError, ImportError)
"""What JAX raises for a graph that it lacks an Op of, or that it can't trace, or where it is not
installed. What fails for another reason, as for want of memory, would fail in a loop as well."""


def reason(error: Exception) -> str:
    """What an error says, in its first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def rebuild[V: Variable](
    outputs: Sequence[V],
    replacements: Mapping[Variable, Variable],
    dtype: str | None = None,
) -> list[V]:
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
    copies: dict[Any, Any] = dict(replacements)  # each is of the kind of what it replaces
    if dtype is not None:
        copies = {old: _as_dtype(new, dtype) for old, new in copies.items()}
        for leaf in graph_inputs(outputs, blockers=list(replacements)):
            if isinstance(leaf, Constant) and leaf not in copies:
                copies[leaf] = _as_dtype(leaf, dtype)
    for node in toposort(outputs, blockers=list(copies)):
        if all(v in copies for v in node.outputs):
            continue
        inputs = [copies.get(v, v) for v in node.inputs]
        if inputs == list(node.inputs) and not (dtype and any(map(_is_float, node.outputs))):
            continue
        results = _remake(node.op, node.inputs, inputs, dtype)
        for old, new in zip(node.outputs, results, strict=True):
            copies.setdefault(old, _as_dtype(new, dtype) if dtype else new)
    return [copies.get(v, v) for v in outputs]


def leaves(outputs: Sequence[Variable], blockers: Sequence[Variable] = ()) -> list[Variable]:
    """Variables without an owner that a graph depends on, constants included, each once.

    The graph is not followed to `blockers` and beyond.
    """
    blocked = set(blockers)
    return [v for v in dict.fromkeys(graph_inputs(outputs, list(blockers))) if v not in blocked]


def values_read(variable: Variable) -> list[Variable]:
    """Variables that a variable's value depends on; those of which it takes the shape don't count.

    The variable itself is one of them.
    """

    def inputs(v: Variable) -> Sequence[Variable] | None:
        if v.owner is None or isinstance(v.owner.op, Shape | Shape_i):
            return None
        return v.owner.inputs

    return list(walk([variable], inputs))


def is_network(model: Model) -> bool:
    """Whether `nn` wrote layers one after the other into the model: its units can swap places."""
    graph = list(ancestors(model.observed_RVs))
    layers = [v for v in graph if hasattr(v.tag, "units")]
    before = set(ancestors([x for v in layers for x in v.owner.inputs]))
    # A module has its layers within.
    return any(v in before for v in layers) or any(getattr(v.tag, "network", False) for v in graph)


def convolves(model: Model) -> bool:
    """Whether `nn` wrote filters of images into the model."""
    graph = ancestors(model.observed_RVs)
    return any(getattr(getattr(v.owner, "op", None), "convolves", False) for v in graph)


def is_shared_value(variable: Variable) -> TypeGuard[SharedVariable]:
    """Whether a variable is shared data, rather than the state of a random generator."""
    return isinstance(variable, SharedVariable) and isinstance(variable.type, TensorType)


def _is_float(variable: Variable) -> TypeGuard[TensorVariable]:
    return isinstance(variable.type, TensorType) and variable.type.dtype in ("float32", "float64")


def _is_integer(variable: Variable) -> TypeGuard[TensorVariable]:
    return isinstance(variable.type, TensorType) and "int" in variable.type.dtype


def _as_dtype(variable: Variable, dtype: str) -> Variable:
    if not _is_float(variable) or variable.type.dtype == dtype:
        return variable
    if isinstance(variable, Constant):
        return type(variable)(variable.type.clone(dtype=dtype), variable.data.astype(dtype))
    return variable.astype(dtype)


def _remake(
    op: Op, old: Sequence[Variable], new: list[Any], dtype: str | None
) -> Sequence[Variable]:
    """Apply an operation to `new` inputs instead of the `old` ones."""
    if isinstance(op, OpFromGraph) and not isinstance(op, SymbolicOp):
        return _remake_inner_graph(op, new, dtype)
    if isinstance(op, JAXOp):
        return jax_functions.on(op, new)
    if isinstance(op, Scan):
        op = _any_lengths(op, dtype)
    elif isinstance(op, Alloc):
        new = [new[0], *_broadcast_shape(old[0], new[0], new[1:])]
    elif isinstance(op, SpecifyShape):
        # What is known of the new shape need not be asserted; the old one may be wrong.
        known = new[0].type.shape
        new = [
            new[0],
            *(s if d is None else NoneConst for s, d in zip(new[1:], known, strict=True)),
        ]
    if dtype is None:
        return _apply(op, new)
    op = _giving(op, dtype)
    results = _apply(op, new)
    # 64-bit integers turn arithmetic with float32 into float64.
    arithmetic = isinstance(op, Elemwise | Dot | Blockwise | SymbolicOp)
    if arithmetic and any(_is_float(v) and v.type.dtype != dtype for v in results):
        results = _apply(op, [v.astype(dtype) if _is_integer(v) else v for v in new])
    return results


def _apply(op: Op, inputs: Sequence[Variable]) -> Sequence[Variable]:
    if isinstance(op, SymbolicOp):
        # Called, it makes an inner graph for other types, and keeps its own gradient.
        return op(*inputs, return_list=True)
    return op.make_node(*inputs).outputs


def _remake_inner_graph(
    op: OpFromGraph, inputs: list[Variable], dtype: str | None
) -> list[Variable]:
    """Apply an inner graph, which has static shapes and dtypes of its own, to other inputs."""
    graph = op.fgraph.unfreeze()
    if op.pullback_overrides is None:
        return rebuild(graph.outputs, dict(zip(graph.inputs, inputs, strict=True)), dtype)
    # A gradient written by hand stays.
    inner = [v.type() for v in inputs]
    outputs = rebuild(graph.outputs, dict(zip(graph.inputs, inner, strict=True)), dtype)
    copy = OpFromGraph(inner, outputs, pullback=op.pullback_overrides, name=op.name)
    return copy.make_node(*inputs).outputs


def _giving(op: Op, dtype: str) -> Op:
    """Let an operation that names a floating-point type as its result name another one."""
    if isinstance(op, Elemwise) and isinstance(op.scalar_op, scalar.Cast):
        if op.scalar_op.o_type.dtype in ("float32", "float64"):
            return Elemwise(scalar.Cast(scalar.get_scalar_type(dtype)))
    elif isinstance(op, CAReduce) and op.dtype in ("float32", "float64"):
        return op.clone(dtype=dtype)
    elif isinstance(op, MakeVector | AllocEmpty) and op.dtype in ("float32", "float64"):
        return type(op)(dtype)
    return op


def _any_lengths(op: Scan, dtype: str | None) -> Scan:
    """Copy a loop, leaving open the lengths that its inner graph was built with."""
    graph = op.fgraph.unfreeze()
    inputs = {}
    for v in graph.inputs:
        type_ = v.type
        if isinstance(type_, TensorType):
            shape = tuple(1 if n == 1 else None for n in type_.shape)
            type_ = type_.clone(dtype=dtype if dtype and _is_float(v) else None, shape=shape)
        inputs[v] = type_()
    outputs = rebuild(graph.outputs, inputs, dtype)
    return Scan(
        list(inputs.values()),
        outputs,
        op.info,
        mode=op.mode,
        truncate_gradient=op.truncate_gradient,
        name=op.name,
        allow_gc=op.allow_gc,
        strict=op.strict,
    )


def _broadcast_shape(old: Variable, new: TensorVariable, shape: list[Variable]) -> list[Variable]:
    """Shape of an Alloc whose value has another length now: where it fills an axis, its own."""
    offset = len(shape) - new.type.ndim
    return [
        length if axis < offset or old.type.shape[axis - offset] == 1 else new.shape[axis - offset]
        for axis, length in enumerate(shape)
    ]
