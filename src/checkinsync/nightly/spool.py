"""Values by the million, in a file instead of memory."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Generic, TypeVar, overload

from checkinsync.errors import FileNotWritten

T = TypeVar("T")

Row = tuple[Any, ...]

BLOCK = 1000
"""Values that are written, and read, at once."""


class Spool(Sequence[T], Generic[T]):
    """A sequence of values, of which all but the last block are in a temporary file without a name.

    A value is kept as the arguments that make it: plain ones, as a row of the database has them.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._file: IO[bytes] | None = None
        self._ends = [0]
        self._last: list[Row] = []
        """The values that are not in the file yet."""
        self._read: tuple[int, list[Row]] = (-1, [])
        """The block that was read last, and its number."""

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, *row: Any) -> None:
        """Append the value that these arguments make. Raises FileNotWritten."""
        self._last.append(row)
        if len(self._last) == BLOCK:
            try:
                self._write(pickle.dumps(self._last))
            except OSError as error:
                raise FileNotWritten(
                    f"a temporary file can't be written ({error.strerror or error}); make room, or "
                    "name another folder in TMPDIR"
                ) from None
            self._last = []

    def _write(self, block: bytes) -> None:
        if self._file is None:  # few values need none
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this object lives
        self._file.seek(self._ends[-1])
        self._file.write(block)
        self._file.flush()
        self._ends.append(self._ends[-1] + len(block))

    def __len__(self) -> int:
        return (len(self._ends) - 1) * BLOCK + len(self._last)

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._ends)):
            for row in self._block(number):
                yield self._make(*row)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        number, place = divmod(range(len(self))[index], BLOCK)
        return self._make(*self._block(number)[place])

    def _block(self, number: int) -> list[Row]:
        if number == len(self._ends) - 1:
            return self._last
        if number != self._read[0]:
            assert self._file is not None
            start, end = self._ends[number : number + 2]
            self._file.seek(start)
            block = pickle.loads(self._file.read(end - start))  # noqa: S301 - our own
            self._read = (number, block)
        return self._read[1]
