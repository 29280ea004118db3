"""dlt: pages as a resource, merged by id into PostgreSQL: `API DATABASE FOLDER`."""

from __future__ import annotations

import sys
from urllib.parse import quote

import dlt
import requests
from psycopg2.extensions import parse_dsn


@dlt.resource(name="checkins", primary_key="id", write_disposition="merge")
def checkins(address: str):
    """Yield the pages of the list."""
    with requests.Session() as session:
        offset = 0
        while True:
            query = {"v": "20240601", "limit": 250, "offset": offset, "oauth_token": "token-1"}
            answer = session.get(f"{address}/users/self/checkins", params=query, timeout=60)
            items = answer.json()["response"]["checkins"]["items"]
            if not items:
                return
            yield items
            offset += len(items)


api, database, folder = sys.argv[1:]
given = parse_dsn(database)
named = f"postgresql://{given['user']}:none@localhost:{given['port']}/{given['dbname']}"
socket = quote(given["host"])  # dlt insists on a host and a password; the socket's folder wins
pipeline = dlt.pipeline(
    "swarm",
    destination=dlt.destinations.postgres(credentials=f"{named}?host={socket}"),
    dataset_name="swarm",
    pipelines_dir=folder,
)
pipeline.run(checkins(api))
