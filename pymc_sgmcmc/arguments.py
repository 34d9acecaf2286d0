"""What an argument may be, and the errors that say what to write instead."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from pymc.util import get_random_generator

# No count comes near it, and it is the least that some library's integers don't hold.
_MANY = 2**31


def integer(name: str, value: Any, least: int = 1, *, otherwise: str = "") -> int:
    """An integer of at least `least`.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : object
    least : int
    otherwise : str
        What else may be given, for the error: ``", or None for all rows"``.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is smaller, or beyond all that can be counted.
    """
    wanted = f"{name} must be an integer of at least {least}{otherwise}, got {value!r}."
    try:
        if isinstance(value, bool):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise TypeError(wanted) from None
    if found < least:
        raise ValueError(wanted)
    if found >= _MANY:
        raise ValueError(f"{name} must be less than 2**31{otherwise}, got {value!r}.")
    return found


def number(
    name: str,
    value: Any,
    low: float,
    high: float = math.inf,
    *,
    closed: bool = False,
    otherwise: str = "",
) -> float:
    """A number greater than `low` (or, where `closed`, at least) and less than `high`.

    Parameters
    ----------
    name : str
        Of the argument, for the error.
    value : object
    low, high : float
    closed : bool
        Whether `low` itself will do.
    otherwise : str
        What else may be given, for the error.

    Raises
    ------
    TypeError
        If it is no real number.
    ValueError
        If it lies beyond the bounds.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number{otherwise}, got {value!r}.")
    found = float(value)
    if (low <= found if closed else low < found) and found < high:
        return found
    bound = f"at least {low:g}" if closed else f"greater than {low:g}"
    top = "finite" if high == math.inf else f"less than {high:g}"
    raise ValueError(f"{name} must be {bound} and {top}{otherwise}, got {value!r}.")


def one_of(name: str, value: Any, allowed: Sequence[str], *, otherwise: str = "") -> str:
    """One of some words.

    Raises
    ------
    ValueError
        If it is none of them; the message has them all.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise ValueError(f"{name} must be {quoted(allowed)}{otherwise}, got {value!r}.")


def boolean(name: str, value: Any) -> bool:
    """True or False.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}.")


def text(name: str, value: Any) -> str:
    """A name.

    Raises
    ------
    TypeError
        If it is no string.
    """
    if isinstance(value, str):
        return value
    raise TypeError(f"{name} must be a name, a string, got {value!r}.")


def names(name: str, value: Any, *, one: bool = False) -> list[str]:
    """Some names, in a list; a single one where `one` allows it.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if isinstance(value, str):
        if one:
            return [value]
        raise TypeError(f"{name} must be a list of names, got {value!r}: write {name}=[{value!r}].")
    found = listed(value)
    if found is None or not all(isinstance(x, str) for x in found):
        raise TypeError(f"{name} must be a list of names, got {value!r}.")
    return found


def listed(value: Any) -> list[Any] | None:
    """What a sequence, a set or an array holds; None of anything else, strings and dicts too."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return None
    try:
        return list(value)
    except TypeError:  # an array without axes
        return None


def generator(name: str, seed: Any) -> np.random.Generator:
    """The random generator that a seed stands for, as PyMC makes it.

    Raises
    ------
    TypeError, ValueError
        If it is no seed.
    """
    try:
        return get_random_generator(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must be an integer of at least 0, a sequence of such, a "
            f"numpy.random.Generator or None, got {seed!r}."
        ) from error


def numbers(name: str, value: Any) -> np.ndarray:
    """An array of numbers.

    Raises
    ------
    TypeError
        If it holds something else, or its rows differ in length.
    """
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be numbers, got {value!r}.") from error


def float_dtype(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Name of a type of floating-point numbers.

    Raises
    ------
    ValueError
        If it is none of those that are allowed.
    """
    try:
        found = np.dtype(value).name
    except (TypeError, ValueError):
        found = ""
    return one_of(name, found if found in allowed else value, allowed)


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Give the check that lets None pass as well."""
    return lambda name, value: None if value is None else check(name, value)


def quoted(words: Sequence[str]) -> str:
    """List words as they would be written: ``"auto", "jax" or "numba"``."""
    *others, last = (f'"{word}"' for word in words)
    return f"{', '.join(others)} or {last}" if others else last
