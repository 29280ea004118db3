"""COPY of prepared rows, a transaction for each page: `FOLDER DATABASE`; the floor.

The folder holds what `prepare` wrote: for each page and table a file in PostgreSQL's binary form.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

folder, database = Path(sys.argv[1]), sys.argv[2]
with psycopg.connect(database) as conn:
    columns = dict(line.split(" ", 1) for line in (folder / "columns").read_text().splitlines())
    orders = {
        table: SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            Identifier(table), SQL(", ").join(map(Identifier, names.split(",")))
        )
        for table, names in columns.items()
    }
    for page in range(len(list(folder.glob("*.checkins")))):
        for table, order in orders.items():
            with conn.cursor() as cursor, cursor.copy(order) as copy:
                copy.write((folder / f"{page:05}.{table}").read_bytes())
        conn.commit()
