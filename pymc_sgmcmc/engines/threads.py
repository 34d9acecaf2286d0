"""Cores of this machine, and the chains that a thread on one of them takes."""

import os

# Numbers that a vectorised update touches for the work to outweigh its making.
_ENOUGH = 2**14


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chains_of_a_thread(chains: int, numbers: int) -> int:
    """Chains that are best vectorised where each update of one touches so many numbers.

    Few, where a single one is work enough; and no more than leave every core its share.
    """
    most = max(1, min(_ENOUGH // numbers, -(-chains // cores())))
    return -(-chains // -(-chains // most))
