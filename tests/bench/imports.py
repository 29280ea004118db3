"""Imports of one long history: beside the peers, with latency, unchanged, verified, and growing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psycopg
from psycopg.sql import SQL, Identifier

from bench.environments import PEERS, python
from bench.places import IMPORTED, PAGE, Places, columns, pages, wal_meter
from bench.process import Ran, ours, run
from bench.scale import LONGEST, Scale

Figures = dict[str, float]

OURS, COPY = "checkinsync", "COPY"
SLOWEST = "swarm-to-sqlite"
LATENCY = 0.1
"""Seconds for each request."""

COPIED = ("checkins", "checkin_photos")


def beside_peers(places: Places, scale: Scale) -> Figures:
    """Return the seconds of a first import in each way: in turns, but once where it takes long."""
    with pages(scale.checkins) as api:
        _import_once(places, api, scale.checkins)
        rows = _prepare(places)
        near = in_turns(
            {
                OURS: lambda: _ours(places, api, scale.checkins).seconds,
                COPY: lambda: _into_database(
                    places, "psycopg", "run_copy.py", str(rows), scale.checkins
                ),
                "foursquare-swarm-ical": lambda: _into_file(
                    places, "foursquare-swarm-ical", "run_ical.py", api, scale.checkins
                ),
            },
            scale.rounds,
        )
        seconds = {name: median(taken) for name, taken in near.items()}
        seconds["the old way"] = _old_way(places, api, scale.checkins)
        seconds["psycopg loop"] = _into_database(
            places, "psycopg", "run_loop.py", api, scale.checkins, table="loop_checkins"
        )
        seconds["dlt"] = _into_database(
            places, "dlt", "run_dlt.py", api, scale.checkins, str(places.folder / "dlt"),
            table="swarm.checkins",
        )  # fmt: skip
    with pages(scale.slowest) as api:
        alone = _into_file(places, SLOWEST, "run_swarm_to_sqlite.py", api, scale.slowest)
    seconds[SLOWEST] = alone * scale.checkins / scale.slowest
    return {f"import {name}": taken for name, taken in seconds.items()}


def in_turns(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure A B C, A B C, …, so that a busy machine affects all of them."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    return taken


def _ours(places: Places, api: str, count: int) -> Ran:
    with places.database() as url:
        ran = ours("import-user", "1", url=url, api=api)
        assert f" {count} new" in ran.out, ran.out
        return ran


def _import_once(places: Places, api: str, count: int) -> None:
    """Import once, and keep the database to be copied."""
    with places.database() as url:
        ran = ours("import-user", "1", url=url, api=api)
        assert f" {count} new" in ran.out, ran.out
        places.copy(psycopg.conninfo.conninfo_to_dict(url)["dbname"], IMPORTED)


def _prepare(places: Places) -> Path:
    """Write what an import has stored into files for COPY, a page and table each."""
    folder = places.folder / "rows"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with psycopg.connect(places.running.url_for(IMPORTED)) as conn:
        keys = {"checkins": "user_id", "checkin_photos": "checkin_id"}
        names = {table: ["id", keys[table], *_plain(conn, table)] for table in COPIED}
        lines = [f"{table} {','.join(names[table])}" for table in COPIED]
        (folder / "columns").write_text("\n".join(lines))
        ids = [row[0] for row in conn.execute("SELECT id FROM checkins ORDER BY id")]
        for page, start in enumerate(range(0, len(ids), PAGE)):
            first, last = ids[start], ids[min(start + PAGE, len(ids)) - 1]
            for table, key in (("checkins", "id"), ("checkin_photos", "checkin_id")):
                order = SQL(
                    "COPY (SELECT {names} FROM {table} WHERE {key} BETWEEN {first} AND {last}) "
                    "TO STDOUT (FORMAT binary)"
                ).format(
                    names=SQL(", ").join(map(Identifier, names[table])),
                    table=Identifier(table), key=Identifier(key), first=first, last=last,
                )  # fmt: skip
                with conn.cursor().copy(order) as copy:
                    (folder / f"{page:05}.{table}").write_bytes(b"".join(bytes(b) for b in copy))
    return folder


def _plain(conn: psycopg.Connection, table: str) -> list[str]:
    """Return the columns that are stored, not generated."""
    generated = conn.execute(
        """
        SELECT column_name FROM information_schema.columns
         WHERE table_name = %s AND is_generated = 'ALWAYS'
        """,
        [table],
    )
    left_out = {name for (name,) in generated}
    return [name for name in columns(conn, table) if name not in left_out]


def _into_database(
    places: Places, peer: str, script: str, source: str, count: int, *more: str,
    table: str = "checkins",
) -> float:  # fmt: skip
    if more:
        shutil.rmtree(more[0], ignore_errors=True)
    with places.database() as url:
        ran = run(python(peer), str(PEERS / script), source, url, *more)
        with psycopg.connect(url) as conn:
            name = Identifier(*table.split("."))
            [stored] = conn.execute(SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        assert stored == count, f"{script} has stored {stored} of {count}"
        return ran.seconds


def _old_way(places: Places, api: str, count: int) -> float:
    """Measure the old job on the application's own database, without our columns and indexes."""
    from support.webapp.database import WebApp, build  # noqa: PLC0415

    with places.database(None) as url:
        build(url, WebApp())
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("DELETE FROM checkins")
            ran = run(python("psycopg"), str(PEERS / "run_old_way.py"), api, url)
            [stored] = conn.execute("SELECT count(*) FROM checkins").fetchone()
        assert stored == count, f"the old way has stored {stored} of {count}"
        return ran.seconds


def _into_file(places: Places, peer: str, script: str, api: str, count: int) -> float:
    file = places.folder / f"{peer}.sqlite"
    file.unlink(missing_ok=True)
    ran = run(python(peer), str(PEERS / script), api, str(file))
    with sqlite3.connect(file) as conn:
        [stored] = conn.execute("SELECT count(*) FROM checkins").fetchone()
    assert stored == count, f"{peer} has stored {stored} of {count}"
    return ran.seconds


def with_latency(places: Places, scale: Scale) -> Figures:
    """Return the seconds of a first import where each request takes a tenth of a second."""
    with pages(scale.latency_checkins, latency=LATENCY) as api:
        return {"latency seconds": _ours(places, api, scale.latency_checkins).seconds}


def again(places: Places, scale: Scale) -> Figures:
    """Return what it takes to import, and to verify, what is stored already.

    `verify` comes right after a first import, when the tables were never analyzed.
    """
    taken: dict[str, list[float]] = {"first": [], "full": [], "verify": [], "wal": []}
    with pages(scale.checkins) as api:
        for _ in range(scale.rounds):
            with places.database() as url:
                taken["first"].append(ours("import-user", "1", url=url, api=api).seconds)
                taken["verify"].append(ours("verify", "1", url=url, api=api).seconds)
                ours("import-user", "1", "--full", url=url, api=api)  # sets what reading sets
                with psycopg.connect(url, autocommit=True) as conn:
                    meter = wal_meter(conn)
                    before = meter()
                    ran = ours("import-user", "1", "--full", url=url, api=api)
                    taken["wal"].append((meter() - before) / scale.checkins)
                assert " 0 new, 0 changed" in ran.out, ran.out
                taken["full"].append(ran.seconds)
    figures = {name: median(values) for name, values in taken.items()}
    return {
        "first seconds": figures["first"],
        "full seconds": figures["full"],
        "verify seconds": figures["verify"],
        "wal bytes": min(taken["wal"]),
    }


def growing(places: Places, scale: Scale) -> Figures:
    """Return seconds and peak memory of first imports of more and more check-ins."""
    figures: Figures = {}
    slowest = 0.0
    for count in scale.histories:
        if slowest * count > LONGEST:
            continue
        with _history(count) as api:
            ran = _ours(places, api, count)
        slowest = ran.seconds / count
        figures[f"history {count} seconds"] = ran.seconds
        figures[f"history {count} peak"] = ran.peak
    return figures


@contextmanager
def _history(count: int) -> Iterator[str]:
    spacing = min(2400, 1_500_000_000 // count)  # the oldest is later than 1970
    with pages(count, spacing=spacing) as api:
        yield api
