"""What an argument may be, and the errors that say what to write instead."""

import math
import operator
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any


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
        If it is smaller.
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
    if isinstance(value, bool):
        return value
    raise TypeError(f"{name} must be True or False, got {value!r}.")


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Give the check that lets None pass as well."""
    return lambda name, value: None if value is None else check(name, value)


def quoted(words: Sequence[str]) -> str:
    """List words as they would be written: ``"auto", "jax" or "numba"``."""
    *others, last = (f'"{word}"' for word in words)
    return f"{', '.join(others)} or {last}" if others else last
