"""Processes that were forked from one in which JAX ran, and where it can't run."""

import os
import sys


def refuse_forked_jax() -> None:
    """Raise an error in a process that was forked from one in which JAX ran.

    JAX does not survive a fork: its threads stay behind, and the child hangs or aborts.
    """
    if _forked_with_jax:
        raise RuntimeError(
            "This process was forked from one in which JAX already ran, and JAX can't run in it. "
            'Use pm.sample(cores=1, ...), or mp_ctx="forkserver".'
        )


_forked_with_jax = False


def _note_fork() -> None:
    global _forked_with_jax
    bridge = sys.modules.get("jax._src.xla_bridge")
    # Not backends_are_initialized(), whose lock another thread may have held at the fork.
    _forked_with_jax = bridge is not None and bool(bridge._backends)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
