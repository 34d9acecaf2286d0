"""The processes of one run, each of which writes its own chains: when, and when it counts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pymc_sgmcmc import processes
from pymc_sgmcmc.store.part import ARRAYS, Mark, Part
from pymc_sgmcmc.store.record import pack, spread_of


class There(NamedTuple):
    """What the first process finds in a store, and the others must know to write as well.

    Attributes
    ----------
    made, filled, seconds
        As `Stored` has them.
    counted : int or None
        Draws made at the mark that the counter has; None where there is none.
    at_once : int or None
        Draws in a chunk.
    layout : object
        Of the tree.
    """

    made: int
    filled: int
    seconds: float
    counted: int | None
    at_once: int | None
    layout: Any


class _Word(NamedTuple):
    """What a process says of itself: whether its thread is done and with what, and if it's time."""

    done: bool
    found: Any
    due: bool


class Together(Part):
    """A process of several that write one run, or the only one.

    All write their draws until the same mark, and their parts of the state there. When the last one
    has, the first moves the counter, and only then do they begin with the draws after that: until
    the counter has moved, nothing counts that any of them wrote. All call `turn` after every block;
    what they tell each other there is a word or two, and no draw.
    """

    # The first process alone knows a clock.
    _is_due = False

    def __init__(self) -> None:
        super().__init__()
        self._alone = processes.count() == 1
        self._under_way: Mark | None = None
        self._counted: int | None = None
        self._committing = False
        self._of_state: set[str] = set()  # keys of this process's part of the latest state

    @property
    def there(self) -> There | None:
        """What the others must know, of the first process."""
        return None

    def _commit(self, mark: Mark, found: Sequence[Any]) -> None:
        """Let what all have written count: in the first process."""
        raise NotImplementedError

    def take(self, there: There | None) -> None:
        """Take what the first process says."""
        assert there is not None
        self._at_once = there.at_once
        self._tree.take(there.layout)

    def turn(self) -> None:
        """Go on with what is being written together, or begin; nothing where there is one process.

        Raises
        ------
        OSError
            If this process could not write.
        RuntimeError
            If another could not.
        """
        if self._alone:
            return
        words = self._hear(wait=False)
        if self._full:
            self._come_together()
        if self._under_way is None and (self._full or words[0].due):
            self._begin_until_mark()

    def write_together(self) -> None:
        """Write all draws until the latest mark; all processes must do so."""
        self._come_together()
        self._begin_until_mark()
        self._come_together()

    def _come_together(self) -> None:
        while self._under_way is not None:
            self._hear(wait=True)

    def _hear(self, wait: bool) -> list[_Word]:
        """Hear how far all are, and take the next step if all are done with the last."""
        words = processes.every(lambda: self._word(wait))
        mark = self._under_way
        if mark is None or not all(word.done for word in words):
            return words
        self._writing = None
        if not self._committing:
            self._committing = True
            if processes.index() == 0:
                found = [word.found for word in words]
                self._writing = self._writer.submit(self._commit, mark, found)
        else:
            self._committing, self._under_way = False, None
            self._counts(mark)
        return words

    def _counts(self, mark: Mark) -> None:
        """Take note that what was written until a mark counts."""
        del self._pending[: len(self._until(mark))]
        self.written, self._counted = mark.filled, mark.made

    def _word(self, wait: bool) -> _Word:
        writing = self._writing
        if writing is None:
            return _Word(True, None, self._is_due)
        if not (wait or writing.done()):
            return _Word(False, None, False)
        return _Word(True, writing.result(), self._is_due)

    def _begin_until_mark(self) -> None:
        """Have every process write until the latest mark; the groups are there before."""
        mark = self._mark
        if mark is None or mark.made == self._counted:
            return
        firsts = {self._prefix(block.tuning): block for block in reversed(self._until(mark))}
        new = [prefix for prefix in firsts if f"{prefix}posterior" not in self._tree.groups]
        with processes.in_step():
            for prefix in new if processes.index() == 0 else ():
                self._create(prefix, firsts[prefix], mark.attributes)
        if new:
            self.take(processes.agreed(self.there))
        self._under_way = mark
        self._writing = self._writer.submit(self._write_part, mark)

    def _write_part(self, mark: Mark) -> tuple[Mapping[str, int], Any]:
        """Write the own draws until a mark, and the own part of its state: nothing counts yet.

        Gives the groups' lengths, and that part as the counter names it.
        """
        with self._told():
            lengths = self._fill(mark)
            plain, aside = pack(spread_of(mark.state))
            arrays = {f"{ARRAYS}/{digest}": x for digest, x in aside.items()}
            new = arrays.keys() - self._of_state
            self._shelf.put_all({key: arrays[key].tobytes() for key in new})
            self._of_state = set(arrays)
        return lengths, plain

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what a store has that can't be written, and what to do."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"{self._shelf.name} can't be written: {error.strerror or error}. It has the first "
                f"{self.written} draws of each chain and a state to go on from: when it can be "
                "written again, the same call goes on.",
            ) from error
