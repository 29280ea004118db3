"""Commands on a real terminal of a given size, as a person would see them."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len

from support import forked
from support.forked import Forked
from support.stories import PATIENCE, Story

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Screen:
    """A process on a terminal; everything that it has written there so far."""

    popen: Forked | subprocess.Popen[bytes]
    master: int
    chunks: list[bytes] = field(default_factory=list)
    answered: int = 0

    @property
    def raw(self) -> str:
        return b"".join(self.chunks).decode(errors="replace")

    @property
    def text(self) -> str:
        """Without control sequences; lines end as in a file."""
        return CONTROL.sub("", self.raw).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def left(self) -> list[str]:
        """The lines that are left in the end, as if the terminal were wide and high enough."""
        lines, row, column = [""], 0, 0
        for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", self.raw):
            if part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part.startswith("\x1b["):
                row -= int(part[2:-1] or 1) if part.endswith("A") else 0
                lines[row] = "" if part == "\x1b[2K" else lines[row]
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + part + line[column + len(part) :]
                column += len(part)
        return lines

    @property
    def width(self) -> int:
        """Cells of the widest line."""
        return max(map(cell_len, self.lines))

    def ended(self) -> int:
        return self.popen.wait(PATIENCE)

    def answer(self, question: str, text: str) -> None:
        """Wait for a question below the last one, and type a line."""
        Story.until(lambda: question in self.text[self.answered :] or self.popen.poll() is not None)
        assert question in self.text[self.answered :], self.text
        self.answered = self.text.index(question, self.answered) + len(question)
        os.write(self.master, f"{text}\n".encode())


@contextmanager
def shown(story: Story, *words: str, columns: int = 80, **settings: str) -> Iterator[Screen]:
    """A command on a terminal of so many columns; its output counts as that of the story."""
    own = {f"CHECKINSYNC_{name.upper()}": value for name, value in settings.items()}
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    popen = forked.start(
        words, stdin=terminal, stdout=terminal, stderr=terminal,
        env={**story.environ, **own, "TERM": story.environ.get("TERM", "xterm")},
    )  # fmt: skip
    os.close(terminal)
    screen = Screen(popen, master)
    reader = threading.Thread(target=_read, args=(master, screen))
    reader.start()
    try:
        yield screen
    finally:
        popen.kill()
        popen.wait()
        reader.join(PATIENCE)
        os.close(master)
        (story.folder / f"terminal-{popen.pid}.out").write_text(screen.raw)


def _read(master: int, screen: Screen) -> None:
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # the last process has closed the terminal
            return
        screen.chunks.append(chunk)


def on_terminal(story: Story, *words: str, columns: int = 80, **settings: str) -> Screen:
    """A command to its end."""
    with shown(story, *words, columns=columns, **settings) as screen:
        screen.ended()
    return screen
