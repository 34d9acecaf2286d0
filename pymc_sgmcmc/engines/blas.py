"""Threads that BLAS may take."""

import functools
import sys
import threading
from contextlib import ContextDecorator

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> "_OneBlasThread":
    """Context, or decorator of a function, in which BLAS keeps to one thread.

    Chains have one each. And matrices of a few hundred columns are done sooner by one: threads wait
    for each other longer than they compute, the more so where other work has the cores.
    """
    return _ONE_BLAS_THREAD


class _OneBlasThread(ContextDecorator):
    """Limits that several threads share: the first to come sets them, the last lifts them.

    They hold for the whole process; each on its own would restore what another had set.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                # Libraries are looked for again when something was imported.
                self._limits = _controller(len(sys.modules)).limit(limits=1, user_api="blas")
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limits.restore_original_limits()


_ONE_BLAS_THREAD = _OneBlasThread()


@functools.lru_cache(1)
def _controller(modules: int) -> ThreadpoolController:
    return ThreadpoolController()
