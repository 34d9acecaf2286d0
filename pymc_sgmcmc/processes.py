"""The processes of one run, as `jax.distributed` has joined them: what they agree on, and share.

All of them run the same lines, and what JAX computes on the devices of all they must ask for in the
same order. So what a clock, a disk or chance has a part in is the first process's, in all of them.
Without `jax.distributed` there is one process, and nothing here does anything.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def count() -> int:
    """Number of processes."""
    jax = sys.modules.get("jax")  # who joined processes has imported it
    if jax is None or not jax.distributed.is_initialized():
        return 1
    return jax.process_count()


def index() -> int:
    """Number of this process; 0 is the first one, which writes and tells."""
    return sys.modules["jax"].process_index() if count() > 1 else 0


def agreed[T](value: T) -> T:
    """What the first process has, in all of them; only those of one job may unpickle it."""
    if count() == 1:
        return value
    from jax.experimental import multihost_utils

    words = _words(value) if index() == 0 else np.zeros(0, np.uint32)
    (length,) = multihost_utils.broadcast_one_to_all(np.array([len(words)], np.uint32))
    sent = multihost_utils.broadcast_one_to_all(_filled(words, int(length)))
    return _value(np.asarray(sent))


def gathered[T](value: T) -> list[T]:
    """What every process has, in their order, in all of them."""
    if count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    words = _words(value)
    lengths = multihost_utils.process_allgather(np.array([len(words)], np.uint32))
    sent = multihost_utils.process_allgather(_filled(words, int(lengths.max())))
    return [_value(x) for x in np.asarray(sent)]


@contextmanager
def in_step() -> Iterator[None]:
    """Leave a block when all processes do; where one of them raised, all raise.

    Within it a process may write or ask a person's function, and nothing that all of them share.

    Raises
    ------
    RuntimeError
        If another process raised; the message has its error.
    """
    if count() == 1:
        yield
        return
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
    told = gathered(None if error is None else words_of(error))
    if error is not None:
        raise error
    for number, what in enumerate(told):
        if what is not None:
            raise ended(number, what)


def every[T](make: Callable[[], T]) -> list[T]:
    """What a function gives in every process, in all of them; see `in_step` for its errors."""
    made: list[T] = []
    with in_step():
        made.append(make())
    return gathered(made[0])


def words_of(error: BaseException) -> str:
    """An error in words that others can be told."""
    return f"{type(error).__name__}: {error}"


def ended(number: int, what: str) -> RuntimeError:
    """Error of those that another process has left alone, with the words it left."""
    return RuntimeError(f"Process {number} of {count()} ended with {what}")


def own_part(n: int) -> slice:
    """Part of n rows that is this process's own: ⌊pn/P⌋ to ⌊(p + 1)n/P⌋ of process p of P."""
    return slice(index() * n // count(), (index() + 1) * n // count())


def whole(rows: np.ndarray, chains: slice | None) -> np.ndarray:
    """Rows of all chains, of which every process has those of its `chains`; as they are for None.

    What the processes have are the chains in order, some of them none.
    """
    return rows if chains is None else np.concatenate(gathered(rows))


def total(shares: list[np.ndarray]) -> list[np.ndarray]:
    """Sums over the processes of arrays of which each has a share; some may have none of any."""
    every = [x for x in gathered(shares) if x]
    return [np.sum(np.stack(parts), axis=0) for parts in zip(*every, strict=True)]


def _words(value: Any) -> np.ndarray:
    """Value in words of 32 bits, which all devices can send: its length in bytes, then they."""
    text = pickle.dumps(value)
    padded = text + bytes(-len(text) % 4)
    return np.concatenate([np.array([len(text)], np.uint32), np.frombuffer(padded, np.uint32)])


def _value(words: np.ndarray) -> Any:
    return pickle.loads(words[1:].tobytes()[: int(words[0])])


def _filled(words: np.ndarray, length: int) -> np.ndarray:
    """Words with zeros up to a power of two, so that few programs send all lengths."""
    found = np.zeros(1 << max(6, (length - 1).bit_length()), np.uint32)
    found[: len(words)] = words[: len(found)]
    return found
