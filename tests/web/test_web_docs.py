"""The examples of docs/web.md, run as they stand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import requests

from support.web import LONG_AGO, TOKEN, in_column, seen
from test_docs import ROOT, fenced

PAGE = ROOT / "docs" / "web.md"
FLASK, STARLETTE = fenced(PAGE, "python")
[EXPRESS] = fenced(PAGE, "js")
QUERIES = fenced(PAGE, "sql")
PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


@pytest.mark.parametrize(
    ("example", "server"),
    [
        (FLASK, ["waitress", "--listen=127.0.0.1:{port}", "app:app"]),
        (STARLETTE, ["uvicorn", "--port={port}", "app:app"]),
    ],
    ids=["flask", "starlette"],
)
def test_the_python_examples_serve(
    example: str, server: list[str], db: str, conn: psycopg.Connection, ada: int, tmp_path: Path
):
    (tmp_path / "app.py").write_text(example)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", *(word.format(port=port) for word in server)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "DATABASE_URL": db},
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}/me"
        until_it_listens(process, port)
        stranger = requests.get(url, timeout=PATIENCE)
        told = requests.get(url, headers={"X-Auth-Token": TOKEN}, timeout=PATIENCE)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    finally:
        process.kill()

    assert (stranger.status_code, set(stranger.json())) == (401, {"error", "message"})
    assert told.json() == {"id": ada, "name": "Ada"}
    assert seen(conn) > in_column(LONG_AGO)
    for word in (TOKEN, "Traceback", "Error"):
        assert word not in log.read_text()


def until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "it does not start"
        assert time.monotonic() < end, "it never listened"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_its_queries_run(conn: psycopg.Connection, query: str):
    conn.execute(query.encode())


def test_the_rights_it_names_are_enough(conn: psycopg.Connection, ada: int):
    [grant] = [query for query in QUERIES if query.startswith("GRANT")]
    with psycopg.connect(conn.info.dsn) as visitor:  # rolled back at the end, the role with it
        visitor.execute("CREATE ROLE reader")
        visitor.execute(grant.replace("CURRENT_USER", "reader").encode())
        visitor.execute("SET ROLE reader")
        found = visitor.execute("SELECT * FROM authenticate(%s, now())", [TOKEN]).fetchall()
        visitor.execute("RESET ROLE")
        recorded = seen(visitor)
        visitor.rollback()

    assert [row[0] for row in found] == [ada]
    assert recorded > in_column(LONG_AGO)


def test_the_statement_for_other_languages_is_one(conn: psycopg.Connection, ada: int):
    [statement] = [line.split("'")[1] for line in EXPRESS.splitlines() if "pool.query(" in line]
    conn.execute(f"PREPARE as_it_stands (text) AS {statement}".encode())

    found = conn.execute(f"EXECUTE as_it_stands ('{TOKEN}')".encode()).fetchall()

    assert [row[0] for row in found] == [ada]
    assert seen(conn) > in_column(LONG_AGO)
