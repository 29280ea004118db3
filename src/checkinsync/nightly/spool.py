"""Values by the million, in a file instead of memory."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")

AT_ONCE = 1000
"""Values read at once."""


class Spool(Sequence[T], Generic[T]):
    """A sequence of values in a temporary file without a name; gone with this object.

    A value is stored as the arguments that make it: plain ones, as a row of the database has them.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as this object lives
        self._ends = array("Q", [0])

    def __del__(self) -> None:
        self._file.close()

    def add(self, *row: Any) -> None:
        """Append the value that these arguments make; before it is read."""
        self._ends.append(self._ends[-1] + self._file.write(pickle.dumps(row)))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[T]:
        for first in range(0, len(self), AT_ONCE):
            yield from self._read(first, min(first + AT_ONCE, len(self)))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, int):
            place = range(len(self))[index]
            return self._read(place, place + 1)[0]
        places = range(len(self))[index]
        return [self[place] for place in places]

    def _read(self, first: int, end: int) -> list[T]:
        """Return the values from `first` to before `end`."""
        ends = self._ends[first : end + 1]
        self._file.seek(ends[0])
        text = memoryview(self._file.read(ends[-1] - ends[0]))
        starts = [at - ends[0] for at in ends]
        rows = (pickle.loads(text[a:b]) for a, b in pairwise(starts))  # noqa: S301 - our own
        return [self._make(*row) for row in rows]
