"""Rows that come in blocks, one after another: slices, columns of tables, loaders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Bytes of a block that is cut from an array.
_BLOCK = 2**25
# Rows that are taken from a table at once.
_BATCH = 2**16


class Blocks(ABC):
    """Arrays whose rows are read from the first to the last.

    Attributes
    ----------
    n_rows : int
        N.
    """

    n_rows: int

    @abstractmethod
    def check(self, name: str, part: Any) -> None:
        """Raise an error if there is no such part; `name` is that of the data."""

    @abstractmethod
    def blocks(self, parts: Sequence[Any]) -> Iterator[list[np.ndarray]]:
        """All rows of some parts, side by side, a block at a time."""

    def stamp(self) -> tuple[object, ...]:
        """What tells of a change without a look at the rows."""
        return ()


class Slices(Blocks):
    """What has a shape, a dtype and slices: arrays of zarr, h5py, xarray or tensorstore.

    Parameters
    ----------
    array : object
    """

    def __init__(self, array: Any) -> None:
        self._array, self.n_rows = array, array.shape[0]

    def check(self, name: str, part: Any) -> None:
        """Refuse a part: see `Blocks.check`."""
        if part is not None:
            raise ValueError(
                f"data[{name!r}] picks {part!r} from an array, which has no parts. Give the array "
                f"alone, or a slice of it: {{{name!r}: array[:, ...]}}."
            )

    def blocks(self, parts: Sequence[Any]) -> Iterator[list[np.ndarray]]:
        """All rows; see `Blocks.blocks`."""
        of_row = int(np.prod(self._array.shape[1:])) * np.dtype(str(self._array.dtype)).itemsize
        size = max(1, _BLOCK // max(of_row, 1))
        # Whole chunks, where there are some: none is read twice.
        chunks = getattr(self._array, "chunks", None)
        if chunks and isinstance(chunks[0], int):
            size = max(1, size // chunks[0]) * chunks[0]
        for first in range(0, self.n_rows, size):
            block = self._array[first : first + size]
            if hasattr(block, "read") and hasattr(block, "result"):  # tensorstore
                block = block.read().result()
            yield [np.asarray(block)] * len(parts)


class Table(Blocks):
    """Columns of a parquet file, a folder of them, or a dataset of pyarrow.

    Parameters
    ----------
    table : path, pyarrow.parquet.ParquetFile, pyarrow.dataset.Dataset or pyarrow.Table
    """

    def __init__(self, table: Any) -> None:
        import pyarrow.dataset as ds

        if isinstance(table, str | Path):
            table = ds.dataset(table, format="parquet")
        self._table = table
        self._paths = [Path(x) for x in getattr(table, "files", ())]
        schema = getattr(table, "schema_arrow", None) or table.schema
        self._names = list(schema.names)
        meta = getattr(table, "metadata", None)
        counted = hasattr(table, "count_rows")
        self.n_rows = table.count_rows() if counted else (meta or table).num_rows

    def check(self, name: str, part: Any) -> None:
        """Refuse columns that there are not; see `Blocks.check`."""
        known = ", ".join(map(repr, self._names))
        if part is None or (isinstance(part, Sequence) and not len(part)):
            raise ValueError(
                f"data[{name!r}] is a table: say which of its columns, one name for a vector or a "
                f'list for a matrix: {{{name!r}: (table, ["a", "b"])}}. It has {known}.'
            )
        columns = [part] if isinstance(part, str) else part
        if missing := [x for x in columns if x not in self._names]:
            raise ValueError(
                f"data[{name!r}] names {', '.join(map(repr, missing))}, which the table lacks. It "
                f"has {known}."
            )

    def blocks(self, parts: Sequence[Any]) -> Iterator[list[np.ndarray]]:
        """All rows of some columns; see `Blocks.blocks`."""
        wanted = [[part] if isinstance(part, str) else list(part) for part in parts]
        names = list(dict.fromkeys(x for columns in wanted for x in columns))
        for batch in self._batches(names):
            if not batch.num_rows:
                continue
            columns = {x: _column(x, batch.column(x)) for x in names}
            yield [
                columns[part] if isinstance(part, str) else np.stack([columns[x] for x in part], 1)
                for part in parts
            ]

    def _batches(self, names: list[str]) -> Iterator[Any]:
        """Batches of pyarrow, with next to nothing read ahead."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        if hasattr(self._table, "iter_batches"):
            for group in range(self._table.num_row_groups):  # or what is read stays
                yield from self._table.iter_batches(_BATCH, row_groups=[group], columns=names)
        elif hasattr(self._table, "combine_chunks"):  # a pyarrow.Table is in memory
            yield from self._table.select(names).to_batches(_BATCH)
        else:
            options = {}
            if getattr(self._table, "format", None) is not None:
                parquet = self._table.format.default_extname == "parquet"
                scan = ds.ParquetFragmentScanOptions(pre_buffer=False)
                options = {"fragment_scan_options": scan} if parquet else {}
            ahead = {"batch_readahead": 1, "fragment_readahead": 1}
            yield from self._table.to_batches(columns=names, batch_size=_BATCH, **ahead, **options)
        pa.default_memory_pool().release_unused()

    def stamp(self) -> tuple[object, ...]:
        """Lengths of files and times of their last change."""
        found = [(str(x), x.stat().st_size, x.stat().st_mtime_ns) for x in self._paths]
        return tuple(found)


class Loader(Blocks):
    """What can be iterated over again and again, for the same blocks or the same rows in others.

    Of PyTorch, Grain, or pymc_extras; blocks are arrays, or tuples or dicts of arrays.

    Parameters
    ----------
    loader : iterable
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.n_rows = _length(loader)

    def check(self, name: str, part: Any) -> None:
        """Any part may be there; see `Blocks.check`."""

    def blocks(self, parts: Sequence[Any]) -> Iterator[list[np.ndarray]]:
        """All rows of some parts of the blocks; see `Blocks.blocks`."""
        for block in self._loader:
            yield [np.asarray(_part(block, part)) for part in parts]


def _part(block: Any, part: Any) -> Any:
    if part is None:
        if isinstance(block, tuple | list | Mapping):
            keys = list(block) if isinstance(block, Mapping) else list(range(len(block)))
            raise ValueError(
                f"The loader gives blocks of {len(keys)} arrays: say which, (loader, key) with "
                f"one of {keys}."
            )
        return block
    try:
        return block[part]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"The loader's blocks have no part {part!r}.") from error


def _length(loader: Any) -> int:
    """Number of rows that a loader says it has."""
    if iter(loader) is loader:
        raise ValueError(
            "data holds a generator, which gives its rows once: of unknown number, and never "
            "again. Give what can be iterated over anew (a DataLoader), or write the rows to a "
            "file: np.save and np.load(..., mmap_mode='r'), or parquet."
        )
    for name in ("n_rows", "num_rows", "total_size"):
        if isinstance(found := getattr(loader, name, None), int | np.integer):
            return int(found)
    dataset: Any = getattr(loader, "dataset", None)
    if hasattr(dataset, "__len__"):
        return len(dataset)
    raise ValueError(
        f"The number of rows of {type(loader).__name__} is unknown, and the likelihood of a batch "
        "stands for all of them. Give a loader with a dataset of known length (len(loader.dataset))"
        ", or with an attribute n_rows."
    )


def _column(name: str, column: Any) -> np.ndarray:
    """Column of a table as numbers, nan where it is null."""
    import pyarrow.types as types

    kind = column.type
    if types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind):
        raise TypeError(
            f"The column {name!r} holds {kind}, not numbers. Write its codes into the file, "
            f"table.append_column('{name}_code', table[{name!r}].dictionary_encode()"
            f".combine_chunks().indices), and take {name + '_code'!r}."
        )
    return column.to_numpy(zero_copy_only=False)
