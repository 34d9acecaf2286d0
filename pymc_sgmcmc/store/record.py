"""The state of a run as JSON and arrays, and back: bit for bit, and nothing in it is code.

Plain values are JSON's own; whatever JSON has no word for is an object with one key, that says what
it is. Small arrays stand in the text, others aside under the digest of what they hold: those that
the last state had as well need not be written again.

Of an array whose chains are spread over processes, each has its own part made plain; `join` puts
these parts into the state that the first process has.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from pymc_sgmcmc.plan.tuning import Tuning

# Bytes up to which an array stands in the text.
_SMALL = 2**14


def _records(kind: Any) -> set[type]:
    """Dataclasses that a type is made of."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return {kind}.union(*map(_records, typing.get_type_hints(kind).values()))
    return set().union(*map(_records, typing.get_args(kind)))


_RECORDS = {cls.__name__: cls for cls in _records(Tuning)}


def pack(value: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A state as JSON has it, and the arrays that stand aside, by their digests.

    Parameters
    ----------
    value : object
        Made of None, numbers, words, lists, tuples, mappings of words, arrays, and the records
        that a run has.

    Returns
    -------
    plain : object
    arrays : dict of str to ndarray

    Raises
    ------
    TypeError
        If there is something else in it.
    """
    aside: dict[str, np.ndarray] = {}
    return _plain(value, aside), aside


def unpack(plain: Any, array: Callable[[str], bytes]) -> Any:
    """State that `pack` made plain.

    Parameters
    ----------
    plain : object
    array : callable
        Gives what stands aside under a digest.
    """
    if isinstance(plain, list):
        return [unpack(x, array) for x in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, held),) = plain.items()
    if kind == "mapping":
        return {k: unpack(x, array) for k, x in held.items()}
    if kind == "tuple":
        return tuple(unpack(x, array) for x in held)
    if kind == "record":
        name, fields = held
        return _RECORDS[name](**{k: unpack(x, array) for k, x in fields.items()})
    if kind == "spread":
        dtype, shape, parts = held
        rows = b"".join(array(digest) for _, digest in sorted(parts))
        return np.frombuffer(rows, np.dtype(dtype)).copy().reshape(shape)
    dtype, shape, order, numbers = held
    ((where, what),) = numbers.items()
    buffer = base64.b64decode(what) if where == "numbers" else array(what)
    x = np.frombuffer(buffer, np.dtype(dtype)).copy().reshape(shape)
    x = x.transpose(np.argsort(order)) if order else x
    return x[()] if kind == "number" else x


def is_spread(value: Any) -> bool:
    """Whether an array is on the devices of several processes, and nowhere whole."""
    return not (
        getattr(value, "is_fully_addressable", True) or getattr(value, "is_fully_replicated", True)
    )


def spread_of(state: Any) -> dict[str, Any]:
    """Arrays that are spread over processes, of mappings within mappings, by their names."""
    found = {}
    for name, x in state.items():
        if is_spread(x):
            found[name] = x
        elif isinstance(x, dict) and (within := spread_of(x)):
            found[name] = within
    return found


def join(plain: Any, part: Any) -> list[str]:
    """Put the parts that another process has into a plain state; gives their digests.

    Parameters
    ----------
    plain : object
        State that `pack` made plain.
    part : object
        What it made of `spread_of` the other's.
    """
    digests = []
    for name, held in part["mapping"].items():
        own = plain["mapping"][name]
        if "spread" in held:
            own["spread"][2] += held["spread"][2]
            digests += [digest for _, digest in held["spread"][2]]
        else:
            digests += join(own, held)
    return digests


def _plain(value: Any, aside: dict[str, np.ndarray]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    kind = type(value).__name__
    if kind in _RECORDS:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"record": [kind, {k: _plain(x, aside) for k, x in fields.items()}]}
    if isinstance(value, dict):
        return {"mapping": {k: _plain(x, aside) for k, x in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [_plain(x, aside) for x in value]}
    if isinstance(value, list):
        return [_plain(x, aside) for x in value]
    if isinstance(value, np.generic):
        return {"number": _array(np.asarray(value), aside)}
    if is_spread(value):
        return {"spread": _parts(value, aside)}
    if hasattr(value, "__array__"):  # on a device, perhaps
        return {"array": _array(np.asarray(value), aside)}
    raise TypeError(f"A state of a run has no {kind} in it, got {value!r}.")


def _array(x: np.ndarray, aside: dict[str, np.ndarray]) -> list[Any]:
    """Type, shape, order of the axes in memory, and the numbers in that order.

    The last bits of sums depend on the order.
    """
    if x.dtype.hasobject:
        raise TypeError(f"A state of a run has no array of {x.dtype} in it.")
    order = np.argsort([-abs(stride) for stride in x.strides], kind="stable").tolist()
    x = np.ascontiguousarray(x.transpose(order)).reshape([x.shape[axis] for axis in order])
    head = [x.dtype.str, list(x.shape), order]
    if x.nbytes <= _SMALL:
        return [*head, {"numbers": base64.b64encode(x.tobytes()).decode()}]
    return [*head, {"aside": _aside(x, aside)}]


def _parts(value: Any, aside: dict[str, np.ndarray]) -> list[Any]:
    """Type, shape, and the first row and digest of every part that is first of all here."""
    own = [shard for shard in value.addressable_shards if shard.replica_id == 0]
    parts = [
        [shard.index[0].start or 0, _aside(np.ascontiguousarray(shard.data), aside)]
        for shard in own
    ]
    return [value.dtype.str, list(value.shape), parts]


def _aside(x: np.ndarray, aside: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(x.tobytes(), digest_size=16).hexdigest()
    aside[digest] = x
    return digest
