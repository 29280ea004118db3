"""The meaning of each setting in a few words, in the sections of the settings file."""

from __future__ import annotations

from collections.abc import Mapping

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "The database": {
        "database_url": "A PostgreSQL URL or DSN. Unless set: DATABASE_URL, else the embedded "
        "database.",
        "migrate_url": "A direct address for `checkinsync migrate`, if the other one goes through "
        "a pooler.",
        "pool_size": "Database connections in all. Unless set: workers + 1, at most 10.",
        "home": "The folder of the embedded database and its key. Unless set: "
        "/var/lib/checkinsync for root, else the user's data folder.",
        "dumps": "Dumps of the embedded database that are kept, one a night; 0: none is made.",
        "prune": "`nightly`: a good night deletes old records of runs and imports; or `never`.",
        "pg_bindir": "Embedded database: the folder of PostgreSQL's programs. Unless set: found.",
        "pg_account": "Embedded database started by root: the account it runs as. Unless set: the "
        "owner of the data, else checkinsync or postgres.",
    },
    "The stored Foursquare tokens": {
        "encryption_key": "Keys separated by commas, or one per line: the first encrypts, all "
        "decrypt. 64 hex digits are the key itself, any other text is a pass phrase. Unless set: "
        "ENCRYPTION_KEY; the embedded database makes a key and keeps it in its folder.",
    },
    "The nightly run": {
        "active_days": "Users are imported whose last login is at most so many days ago, or `all` "
        "who are connected. Unless set: 30; on the embedded database all.",
        "stagger": "Time between two users' starts.",
        "window": "The last user starts within this time; with many users the stagger shrinks.",
        "workers": "Imports at once, at most.",
        "deadline": "The run ends after this time, done or not.",
        "max_age": "Skip users whose last finished import is younger, such as 20h. Unless set: "
        "skip nobody.",
        "overlap": "How far back each night reads again.",
        "retries": "Retries after the first attempt.",
        "retry_delay": "Time before the first retry; it doubles with each.",
    },
    "Foursquare": {
        "client_id": "For `checkinsync login`: the application's id, as Foursquare shows it.",
        "client_secret": "For `checkinsync login`: the application's secret.",
        "api_url": "Base of the API; plain http only to this machine itself.",
        "oauth_url": "Base of the login; plain http only to this machine itself.",
        "token_in": "How tokens are sent: `header`, `query`, or `auto`, which tries the header and "
        "remembers what worked.",
        "proxy": "`environment`: reach Foursquare through the proxy that HTTPS_PROXY names.",
        "ca_file": "A file of certificates (PEM) to trust instead of the usual ones. Unless set: "
        "REQUESTS_CA_BUNDLE, SSL_CERT_FILE or CURL_CA_BUNDLE.",
    },
    "The log": {
        "log_file": "The whole log goes there, and standard error stays quiet. Unless set: "
        "warnings and errors go to standard error.",
        "log_format": "`text`, or `json` with one object per line.",
    },
    "Who is told, and what is written after a run": {
        "ping_url": "A check in the manner of healthchecks: each run pings its start, its end and "
        "its exit code.",
        "webhook_url": "Each run's digest is posted there as JSON.",
        "ntfy_url": "A topic of ntfy, for what an operator should know.",
        "notify": "The same for other services: addresses of apprise, separated by blanks (extra "
        "notify).",
        "notify_names": "`yes`: notices name users, instead of numbering them.",
        "metrics_file": "Metrics for Prometheus, written anew after each run (extra metrics).",
        "report_file": "The operator's page, written anew after each run (extra report).",
    },
}
"""A setting that is missing here still appears in the file, without a comment; a test finds it."""
