"""Records that become attributes of a DataTree, and are read from them: types say how.

netCDF and zarr hold numbers, texts and arrays. What is None is left out, a flag is 0 or 1, a tuple
of words one text. A person may have edited what is read: what is missing or unreadable raises
`NotMeasured` when, and only when, it is asked for.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

import numpy as np


class NotMeasured(Exception):
    """What a check needs is missing, or no number.

    Parameters
    ----------
    reason : str
    failed : bool
        Whether it is there and no finite number: then something went wrong.
    """

    def __init__(self, reason: str, failed: bool = False) -> None:
        super().__init__(reason)
        self.failed = failed


class Record:
    """Base of frozen dataclasses whose fields are attributes.

    A field may be a float, int, bool, str, array or tuple of str, or one of several of these; each
    perhaps None, and `NotMeasured` as long as it is not known. It may be another record, whose
    fields then stand among the others, or a mapping, of attributes that have no field.
    """

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if isinstance(value, NotMeasured):
            raise value
        return value

    def but(self, **changes: Any) -> Self:
        """Give the same record with some other values."""
        if unknown := changes.keys() - _kinds(type(self)).keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}.")
        record = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(record, name, value)
        return record

    def attributes(self) -> dict[str, Any]:
        """What netCDF can hold of it."""
        found: dict[str, Any] = {}
        for name in _kinds(type(self)):
            value = object.__getattribute__(self, name)
            if isinstance(value, Record):
                found |= value.attributes()
            elif isinstance(value, Mapping):
                found |= {k: x for k, v in value.items() if (x := _as_attribute(v)) is not None}
            elif (x := _as_attribute(value)) is not None:
                found[name] = x
        return found

    @classmethod
    def read(cls, attributes: Mapping[str, Any]) -> Self:
        """Record whose attributes these are; what it has no field for goes to its mapping."""
        record, kinds = object.__new__(cls), _kinds(cls)
        for name, (kind, needed) in kinds.items():
            if isinstance(kind, type) and issubclass(kind, Record):
                value: Any = kind.read(attributes)
            elif kind is Mapping:
                value = {k: x for k, x in attributes.items() if k not in names_of(cls)}
            else:
                value = _read(name, kind, needed, attributes)
            object.__setattr__(record, name, value)
        return record


def names_of(cls: type) -> set[str]:
    """Names of all fields of a record, and of the records in it."""
    found: set[str] = set()
    for name, (kind, _) in _kinds(cls).items():
        nested = isinstance(kind, type) and issubclass(kind, Record)
        found |= names_of(kind) if nested else {name}
    return found


def _kinds(cls: Any) -> dict[str, tuple[Any, bool]]:
    """Type of every field of a record, and whether it is needed: not None."""
    return _kinds_read(cls)


@functools.cache
def _kinds_read(cls: Any) -> dict[str, tuple[Any, bool]]:
    # Reading annotations takes a millisecond, which a run would spend many times over.
    hints = typing.get_type_hints(cls)
    return {field.name: _kind(hints[field.name]) for field in dataclasses.fields(cls)}


def _kind(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType):
        kinds = [x for x in hint.__args__ if x is not type(None)]
        kind = kinds[0] if len(kinds) == 1 else object
        return typing.get_origin(kind) or kind, type(None) not in hint.__args__
    return typing.get_origin(hint) or hint, True


def _as_attribute(value: Any) -> Any:
    if isinstance(value, NotMeasured):
        return None
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or None
    return value


def _read(name: str, kind: Any, needed: bool, attributes: Mapping[str, Any]) -> Any:
    """Value of a field, or why there is none."""
    if name not in attributes:
        if not needed:
            return None
        empty = {bool: False, tuple: (), str: "", object: ""}
        if kind in empty:
            return empty[kind]
        return NotMeasured(f"the attributes have no {name!r}")
    value = attributes[name]
    try:
        if kind is str:
            return str(value)
        if kind is object:
            return value.item() if isinstance(value, np.generic) else value
        if kind is tuple:
            return tuple(str(value).split(", "))
        if kind is np.ndarray:
            return _array(name, value)
        found = _number(name, value)
    except NotMeasured as reason:
        return False if kind is bool else reason  # a flag that can't be read is not set
    if kind is bool:
        return found != 0
    return int(found) if kind is int and found.is_integer() else found


def _number(name: str, value: Any) -> float:
    try:
        found = float(np.asarray(value).item())
    except (TypeError, ValueError, OverflowError):
        text = str(value)[:40]
        raise NotMeasured(f"the attribute {name!r} is no number: {text!r}", True) from None
    if not math.isfinite(found):
        raise NotMeasured(f"the attribute {name!r} is {found}", True)
    return found


def _array(name: str, value: Any) -> np.ndarray:
    """Array of numbers, or a text of one; they need not be finite."""
    try:
        listed = value.strip("[]").split() if isinstance(value, str) else value
        return np.atleast_1d(np.asarray(listed, float))
    except (TypeError, ValueError, OverflowError):
        text = str(value)[:40]
        raise NotMeasured(f"the attribute {name!r} holds no numbers: {text!r}", True) from None


def needed[T](name: str, value: T | None) -> T:
    """Value of a field that a check needs, though it may be None elsewhere."""
    if value is None:
        raise NotMeasured(f"the attributes have no {name!r}")
    return value


def positive(name: str, value: float) -> float:
    """Value of a field that must be positive."""
    if value <= 0:
        raise NotMeasured(f"the attribute {name!r} is {value:g} and must be positive", True)
    return value
