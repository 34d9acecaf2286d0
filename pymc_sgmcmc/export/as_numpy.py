"""A program as a Python file that needs NumPy alone, and a file of arrays beside it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pymc_sgmcmc.export import numerics
from pymc_sgmcmc.export.program import MOST, Program, Step

# Numbers of a constant that are written into the text; more are kept with the draws.
_FEW = 6

_EXPRESSIONS: dict[str, str] = {
    "Abs": "np.abs({0})",
    "Acos": "np.arccos({0})",
    "Add": "{0} + {1}",
    "And": "{0} & {1}",
    "ArgMax": "np.argmax({0}, {axis})",
    "Asin": "np.arcsin({0})",
    "Atan": "np.arctan({0})",
    "Cast": "np.asarray({0}).astype({to!r})",
    "Ceil": "np.ceil({0})",
    "Concat": "np.concatenate([{inputs}], {axis})",
    "Conv": "conv({0}, {1}, {pads}, {strides})",
    "Cos": "np.cos({0})",
    "Cosh": "np.cosh({0})",
    "Div": "{0} / {1}",
    "Equal": "{0} == {1}",
    "Erf": "erf({0})",
    "Exp": "np.exp({0})",
    "Expand": "expand({0}, {1})",
    "Floor": "np.floor({0})",
    "Gather": "np.take({0}, {1}, {axis})",
    "GatherND": "{0}[tuple(np.moveaxis({1}, -1, 0))]",
    "Greater": "{0} > {1}",
    "GreaterOrEqual": "{0} >= {1}",
    "Identity": "{0}",
    "IsInf": "np.isinf({0})",
    "IsNaN": "np.isnan({0})",
    "Less": "{0} < {1}",
    "LessOrEqual": "{0} <= {1}",
    "Log": "np.log({0})",
    "LogSoftmax": "log_softmax({0}, {axis})",
    "MatMul": "{0} @ {1}",
    "Max": "np.maximum({0}, {1})",
    "Min": "np.minimum({0}, {1})",
    "Mod": "{0} % {1}",
    "Mul": "{0} * {1}",
    "Neg": "-{0}",
    "Not": "~{0}",
    "Or": "{0} | {1}",
    "Pow": "{0} ** {1}",
    "Reciprocal": "1 / {0}",
    "ReduceMax": "np.max({0}, {axes})",
    "ReduceMin": "np.min({0}, {axes})",
    "ReduceProd": "np.prod({0}, {axes})",
    "ReduceSum": "np.sum({0}, {axes})",
    "Reshape": "np.reshape({0}, {1})",
    "Round": "np.round({0})",
    "Shape": "np.array(np.shape({0}))",
    "Sigmoid": "sigmoid({0})",
    "Sign": "np.sign({0})",
    "Sin": "np.sin({0})",
    "Sinh": "np.sinh({0})",
    "Slice": "{0}[{slices}]",
    "Softmax": "softmax({0}, {axis})",
    "Softplus": "np.logaddexp({0}, np.float32(0))",
    "Sqrt": "np.sqrt({0})",
    "Squeeze": "np.squeeze({0}, {axes})",
    "Sub": "{0} - {1}",
    "Tan": "np.tan({0})",
    "Tanh": "np.tanh({0})",
    "Transpose": "np.transpose({0}, {perm})",
    "Unsqueeze": "np.expand_dims({0}, {axes})",
    "Where": "np.where({0}, {1}, {2})",
}

_FILE = '''"""{title}

Needs NumPy, and {arrays} beside it. pymc_sgmcmc wrote both.
"""

{math}from pathlib import Path

import numpy as np

with np.load(Path(__file__).with_name({arrays!r})) as _file:
    _stored = dict(_file)
{functions}

def predict({arguments}):
    """Predict rows.

    Parameters
    ----------
{parameters}

    Returns
    -------
    dict of ndarray
{results}
    """
{body}
'''


def write(program: Program, path: Path, title: str) -> None:
    """Write a program to ``path`` and the arrays that it needs to the same name with ``.npz``."""
    kept = {k: x for k, x in program.constants.items() if x.size > _FEW}
    arrays: dict[str, Any] = program.draws | kept
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    path.write_text(_text(program, list(kept), path.with_suffix(".npz").name, title))


def load(path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """The function ``predict`` of a file that was written."""
    found: dict[str, Any] = {"__file__": str(path), "__name__": path.stem}
    exec(compile(path.read_text(), str(path), "exec"), found)  # what was just written
    return found["predict"]


def _text(program: Program, kept: list[str], arrays: str, title: str) -> str:
    steps = [*program.before, *program.by_draw, *program.after]
    functions = _functions("\n".join(map(_line, steps)))
    few = {k: x for k, x in program.constants.items() if k not in kept}
    given, taken = _listed(program.stacked), _listed(program.stacked.values())
    results = ", ".join(f"{k!r}: {x}" for k, (x, _, _) in program.results.items())
    body = [
        *(f"{x} = np.asarray({x}, {dtype!r})" for x, (dtype, _) in program.inputs.items()),
        *(f"{x} = _stored[{x!r}]" for x in kept),
        *(f"{k} = np.array({x.tolist()!r}, {x.dtype.name!r})" for k, x in few.items()),
        *map(_line, program.before),
        "",
        "def of_draw(",
        *(f"    {x}," for x in program.draws),
        "):",
        *(f"    {_line(step)}" for step in program.by_draw),
        f"    return {given}",
        "",
        f"draws = zip(*map(_stored.get, {list(program.draws)!r}))",
        f"{taken} = map(np.stack, zip(*(of_draw(*draw) for draw in draws)))",
        *map(_line, program.after),
        f"return {{{results}}}",
    ]
    of_inputs = (f"    {x} : {d}, {_shape(shape)}" for x, (d, shape) in program.inputs.items())
    of_results = (f"        {x}, {_shape(shape)}" for x, (_, _, shape) in program.results.items())
    return _FILE.format(
        title=title,
        arrays=arrays,
        math="import math\n" * ("math." in functions),
        functions=functions,
        arguments=", ".join(program.inputs),
        parameters="\n".join(of_inputs),
        results="\n".join(of_results),
        body="\n".join(f"    {line}".rstrip() for line in body),
    )


def _functions(code: str) -> str:
    """Source of the functions that code calls and NumPy has not."""
    known = inspect.getmembers(numerics, inspect.isfunction)
    used = [f for name, f in known if re.search(rf"(?<![\w.]){name}\(", code)]
    return "".join(f"\n\n{inspect.getsource(f)}" for f in used)


def _line(step: Step) -> str:
    template, known = _EXPRESSIONS[step.operator], dict(step.attributes)
    if step.operator == "Slice":
        known["slices"] = _slices(**step.attributes)
    text = template.format(*step.inputs, inputs=", ".join(step.inputs), **known)
    return f"{step.output} = {text}"


def _slices(starts: Any, ends: Any, axes: Any, steps: Any) -> str:
    """What stands in brackets."""
    parts = [":"] * (max(axes) + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        first = "" if start in (0, MOST) else start
        last = "" if abs(end) == MOST else end
        parts[axis] = f"{first}:{last}" + (f":{step}" if step != 1 else "")
    return ", ".join(parts)


def _listed(names: Any) -> str:
    """Names of a tuple, of one too."""
    return "".join(f"{x}, " for x in names).rstrip()


def _shape(shape: tuple) -> str:
    lengths = ["rows" if n is None else str(n) for n in shape]
    return f"({', '.join(lengths)}{',' if len(shape) == 1 else ''})"
