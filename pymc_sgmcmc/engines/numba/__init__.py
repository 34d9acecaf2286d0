"""Numba: chains in threads, on the processor's cores."""
