r"""Rows of rare levels, drawn more often: minibatches in which no level of an index is missing.

An item with r of N rows has none in most batches of B, and one that counts N/B times in few: noise
that no thermostat turns into a draw in fewer than about N/B updates. Where row i stands
:math:`c_i` times in a table of :math:`M = \sum_i c_i` entries, of which a batch takes B,

.. math::

    \frac NB \sum_{e \in \text{batch}} w_{i(e)} \log p(x_{i(e)} \mid q),
    \qquad w_i = \frac{M}{N c_i},

is as unbiased as with :math:`c_i = 1`, and the variance of the gradient of such an item is
:math:`c_i` times smaller. So c is chosen inverse to the rows of a row's rarest level.
"""

from collections.abc import Iterator

import numpy as np
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.subtensor import AdvancedSubtensor

from pymc_sgmcmc.model.graphs import values_read
from pymc_sgmcmc.model.rows import RowData, value_of
from pymc_sgmcmc.model.terms import Terms

# Entries of the table, of which each is a copy of a row: so many times as there are rows, at most.
_ROOM = 1.5
# Copies of a row, at most; and those of some row from which on a table is worth having.
_MOST, _WORTH_IT = 1024, 4
# Rows of a batch, as a part of all, up to which a table stands for rows without replacement.
_TAKEN = 0.1


def copies(terms: Terms) -> np.ndarray | None:
    """How often each row stands in a table of balanced rows, ``(N,)``; None if it does not pay.

    Parameters
    ----------
    terms : Terms
        Of a model whose rows are in memory.
    """
    rows, size = terms.rows, terms.batch_size
    if rows is None or rows.n_rows is None or rows.stored is not None or size is None:
        return None
    if size > _TAKEN * rows.n_rows or rows.batch_size is not None:
        return None
    rarest = np.ones(rows.n_rows)
    for codes in _codes(terms, rows):
        rarest = np.maximum(rarest, _rarity(codes))
    return _within_room(rarest) if rarest.max() >= _WORTH_IT else None


def weights(copies: np.ndarray) -> np.ndarray:
    """How often each entry of the table counts, ``(M,)``: 1 on average."""
    total, n = copies.sum(), len(copies)
    return np.repeat(total / (n * copies), copies)


def _codes(terms: Terms, rows: RowData) -> Iterator[np.ndarray]:
    """Columns of whole numbers by which rows pick entries of sampled variables, ``(N,)`` each."""
    sampled, of_rows = set(terms.value_vars), set(rows.variables)
    read = set[Variable]()
    for v in ancestors(terms.likelihoods):
        if v.owner is None or not isinstance(v.owner.op, AdvancedSubtensor):
            continue
        table, *indices = v.owner.inputs
        below = set(ancestors([table]))
        # A table of every row, as the probabilities of classes are, has no levels.
        if sampled & below and not of_rows & below:
            read |= {x for index in indices for x in values_read(index)}
    numbers = {g for v, g in zip(rows.variables, rows.groups, strict=True) if v in read}
    for number in sorted(numbers):
        values = value_of(rows.sources[number])
        if values.dtype.kind in "iu":
            yield from values.reshape(len(values), -1).T


def _rarity(codes: np.ndarray) -> np.ndarray:
    """Rows of a level on average, over those of each row's own, ``(N,)``."""
    levels, of_row, rows = np.unique(codes, return_inverse=True, return_counts=True)
    return len(codes) / len(levels) / rows[of_row]


def _within_room(rarity: np.ndarray) -> np.ndarray:
    """Copies in proportion to rarity, as far as the table has room for them."""
    share = 1.0
    while True:
        found = np.clip(np.rint(share * rarity), 1, _MOST).astype(np.int64)
        if found.sum() <= _ROOM * len(rarity):
            return found
        share *= 0.8
