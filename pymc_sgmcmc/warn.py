"""Warnings that point at the user's own line."""

import os
import warnings

import pymc as pm

_SKIPPED = (os.path.dirname(pm.__file__), os.path.dirname(__file__))


def warn_user(message: str) -> None:
    """Warn at the innermost line that is neither PyMC's nor this package's."""
    warnings.warn(message, UserWarning, skip_file_prefixes=_SKIPPED)
