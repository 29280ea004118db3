"""Commands as real processes, forked from one that has imported the program already.

Starting Python and importing everything takes most of a command's time. A forked command is a
process like any other (its own id, environment, folder, streams, signals and exit), but for two
things: its modules are imported, and it exits without undoing the imports. Where the environment
holds something unusual that Python reads as it starts (PYTHON…, the locale), Python is started.
Tests about what is imported when, or about Python's own start, start it themselves.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import checkinsync

SOURCES = Path(checkinsync.__file__).parents[1]
USUAL = {"PYTHONPATH": str(SOURCES), "LANG": "C.UTF-8"}
"""What Python reads as it starts; a process that forks has these, or another path."""
READ_BY_PYTHON = ("PYTHON", "LANG", "LC_", "LD_")
"""Beginnings of such names."""

STREAMS = ("stdin", "stdout", "stderr")
LEFT_OUT = tuple(f"checkinsync.{name}" for name in ("__main__", "simulator", "web", "workers"))
"""Not imported beforehand: it is what runs, and few commands need the others."""


# --- in the tests ---------------------------------------------------------------------------------


@dataclass
class Forked:
    """A forked command; it is waited for as a `subprocess.Popen` is."""

    args: list[str]
    pid: int
    told: IO[bytes]
    stdin: IO[bytes] | None
    returncode: int | None = None

    def poll(self) -> int | None:
        return self._ended(within=0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(within=timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, *, within: float | None) -> int | None:
        if self.returncode is None and select.select([self.told], [], [], within)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self.told.readline()))
            self.told.close()
        return self.returncode


def start(
    words: Sequence[str],
    *,
    env: dict[str, str],
    stdin: Any = subprocess.DEVNULL,
    stdout: Any,
    stderr: Any,
    module: str = "checkinsync",
) -> Forked | subprocess.Popen[bytes]:
    """Do `python -m` module words …; a stream is a file or its number, or PIPE for `stdin`."""
    read = {name: env[name] for name in env if name.startswith(READ_BY_PYTHON)}
    if read != {**USUAL, "PYTHONPATH": read.get("PYTHONPATH")}:
        command = [sys.executable, "-W", "error", "-m", module, *words]
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=env)
    server = _server(read["PYTHONPATH"])
    if stdin == subprocess.DEVNULL:
        stdin = server.nothing
    if stdin != subprocess.PIPE:
        return server.fork(module, words, env, [stdin, stdout, stderr])
    reading, writing = os.pipe()
    forked = server.fork(module, words, env, [reading, stdout, stderr])
    os.close(reading)
    forked.stdin = open(writing, "wb")  # noqa: SIM115 - the test closes it
    return forked


def run(
    words: Sequence[str], *, env: dict[str, str], given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Do `python -m checkinsync` words …, to its end, with `given` on standard input."""
    with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
        stdin.write(given.encode())
        stdin.seek(0)
        code = start(words, env=env, stdin=stdin, stdout=stdout, stderr=stderr).wait()
        stdout.seek(0)
        stderr.seek(0)
        said = stdout.read().decode(), stderr.read().decode()
    return subprocess.CompletedProcess([*words], code, *said)


class Server:
    """The process that forks, as long as this one lives."""

    def __init__(self, path: str) -> None:
        self.nothing = os.open(os.devnull, os.O_RDWR)
        self.requests, theirs = socket.socketpair()
        self.one_at_a_time = threading.Lock()
        program = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
            f"from support.forked import serve\n"
            f"del sys.path[0]; serve({theirs.fileno()})"
        )
        with theirs:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**USUAL, "PYTHONPATH": path, "PATH": os.environ["PATH"]},
                pass_fds=[theirs.fileno()],
            )

    def fork(
        self, module: str, words: Sequence[str], env: dict[str, str], streams: list[Any]
    ) -> Forked:
        """Return the child as soon as there is one."""
        numbers = [each if isinstance(each, int) else each.fileno() for each in streams]
        reading, telling = os.pipe()
        told = open(reading, "rb", buffering=0)  # noqa: SIM115 - until it has ended
        request = {"module": module, "words": words, "env": env, "folder": os.getcwd()}
        with self.one_at_a_time:
            socket.send_fds(self.requests, [b"\n"], [*numbers, telling])
            self.requests.sendall(f"{json.dumps(request)}\n".encode())
            os.close(telling)
            return Forked([*words], int(told.readline()), told, None)

    def close(self) -> None:
        self.requests.close()
        os.close(self.nothing)
        self.popen.wait()


@cache
def _server(path: str) -> Server:
    server = Server(path)
    atexit.register(server.close)
    return server


# --- in the process that forks --------------------------------------------------------------------


def serve(fd: int) -> None:
    """Fork for each request, until the tests close their end; run its command in the child."""
    _import_all()
    assert threading.active_count() == 1, "in a child, a thread does not live on"
    gc.collect()
    gc.freeze()
    with suppress(KeyboardInterrupt), socket.socket(fileno=fd) as tests:
        while request := _next(tests):
            if os.fork() == 0:
                break
            for each in request["fds"]:
                os.close(each)
            with suppress(ChildProcessError):  # there are no more
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    if request:
        _guard(**request)


def _import_all() -> None:
    for module in pkgutil.walk_packages(checkinsync.__path__, "checkinsync."):
        if not module.name.startswith(LEFT_OUT):
            importlib.import_module(module.name)


def _next(tests: socket.socket) -> dict[str, Any] | None:
    """Return a request with its three streams and where to tell of the child; None at the end."""
    _, fds, _, _ = socket.recv_fds(tests, 1, len(STREAMS) + 1)
    with tests.makefile("rb") as reading:
        return {**json.loads(reading.readline()), "fds": fds} if fds else None


def _guard(*, fds: list[int], **command: Any) -> None:
    """Fork the command itself; tell its number, and how it ended."""
    *streams, telling = fds
    child = os.fork()
    if child == 0:
        os.close(telling)
        _become(streams=streams, **command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    for each in streams:
        os.close(each)
    os.write(telling, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    with suppress(BrokenPipeError):  # the tests have ended first
        os.write(telling, f"{status}\n".encode())
    os._exit(0)


def _become(
    *, module: str, words: list[str], env: dict[str, str], folder: str, streams: list[int]
) -> None:
    """Do what `python -m` does, in that environment."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for number, name in enumerate(STREAMS):
        before = getattr(sys, name)
        stream = open(  # noqa: SIM115 - for its whole life
            number, before.mode, encoding=before.encoding, errors=before.errors, closefd=False,
            buffering=1 if name == "stderr" or os.isatty(number) else -1,
        )  # fmt: skip
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["", *words]
    sys.path[0] = folder
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    _leave(code)
    sys.exit(code)


def _leave(code: Any) -> None:
    """Exit as Python does, without undoing every import: that takes longer than the command."""
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()  # complains of what was left open
    with suppress(OSError):  # Python itself says that it can't be written
        sys.stdout.flush()
        os._exit(code or 0)
