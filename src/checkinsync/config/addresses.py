"""Addresses of a PostgreSQL, read as libpq reads them; a refusal says what to write instead.

Other programs put settings of their own into the same text. Those that are known are left out and
noted; an unknown one is an error. No message shows a password, or what may be a piece of one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from checkinsync.config.sources import QUOTES, Noted

_OURS = """
    application_name channel_binding client_encoding connect_timeout dbname
    fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives
    keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts
    max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer
    oauth_scope options passfile password port replication require_auth requirepeer
    scram_client_key scram_server_key service ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey
    sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
    tcp_user_timeout user
"""
OURS = frozenset(_OURS.split())
"""The parameters of libpq itself."""

_FOREIGN = """
    connection_limit max_idle_connection_lifetime pgbouncer pool_timeout single_use_connections
    socket_timeout sslaccept sslidentity statement_cache_size supa

    async_fallback async_creator_fn command_timeout max_cached_statement_lifetime max_overflow
    plugin pool_pre_ping pool_recycle pool_size prepared_statement_cache_size
    prepared_statement_name_func timeout

    binary connectiontimeoutmillis encoding idle_timeout idletimeoutmillis keepalive
    keepaliveinitialdelaymillis max max_lifetime max_pipeline min prepare query_timeout
    uselibpqcompat

    adapter advisory_locks checkout_timeout collation database_tasks max_connections
    min_connections min_messages migrations_paths pool prepared_statements reaping_frequency
    replica statement_limit

    atomic_requests conn_health_checks conn_max_age disable_server_side_cursors engine

    binary_parameters default_query_exec_mode description_cache_capacity pool_health_check_period
    pool_max_conn_idle_time pool_max_conn_lifetime pool_max_conns pool_min_conns
    statement_cache_capacity

    charset idle_in_transaction_session_timeout lock_timeout serverversion statement_timeout
    timezone
"""
FOREIGN = frozenset(_FOREIGN.split())
"""Settings of other programs: Prisma, SQLAlchemy, Node, Rails, Django, Go, any of them."""

OPEN = frozenset({"dbname", "host", "hostaddr", "port", "service", "sslmode", "user"})
"""The parameters that are shown."""

SCHEMAS = frozenset({"schema", "currentschema", "search_path", "schema_search_path"})
ENCRYPTION = frozenset({"ssl", "ssl_mode", "ssl_require", "require_ssl"})
SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
OFF = frozenset({"", "0", "false", "no", "off", "disable", "allow", "prefer"})

_SCHEME = re.compile(r"(?:postgres(?:ql)?(?:\+\w+)?|postgis|psql|pgsql)", re.IGNORECASE)
_PLAIN = ("postgresql", "postgres")
_REST = re.compile(r"([^/@]*@)?([^/?@]*)(/[^/?@]*)?(?:\?(.*))?")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^:@\[\]]*)(?::([0-9]*))?")
_ASSIGNED = re.compile(
    r"(?:export\s|set\s|\$env:|(\w+)\s*[=:]\s*[\"']?\w[\w+]*://|\w*(?:URL|DSN)\w*\s*=)"
)
_PAIR = re.compile(
    r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?!')(?:[^\s\\]|\\.)*)(?=\s|$)\s*", re.DOTALL
)


def postgres_address(text: str) -> str | Noted:
    """Return a PostgreSQL URL or DSN that has one meaning only. Raises ValueError."""
    text = text.strip()
    _refuse_wrapping(text)
    if _PAIR.match(text):
        return _dsn(text)
    scheme, separator, rest = text.partition("://")
    if separator and _SCHEME.fullmatch(scheme):
        return _url(scheme if scheme in _PLAIN else _PLAIN[0], rest)
    raise ValueError("must be a URL (postgresql://user@host/name) or a DSN (host=… dbname=…)")


def without_secrets(address: str) -> str:
    """Return who connects to what: of an address that was read here, the parts that are no secret.

    Of its parameters only these are shown, since what another one holds is unknown.
    """
    scheme, separator, rest = address.partition("://")
    parts = _REST.fullmatch(rest) if separator else None
    if parts is None:
        pairs = [pair for pair in _PAIR.finditer(address) if pair[1] in OPEN]
        return " ".join(pair[0].strip() for pair in pairs)
    credentials, hosts, name, query = parts.groups(default="")
    user = f"{credentials.rstrip('@').partition(':')[0]}@" if credentials else ""
    shown = [part for part in query.split("&") if part.partition("=")[0] in OPEN]
    return f"{scheme}://{user}{hosts}{name}{'?' if shown else ''}{'&'.join(shown)}"


def _refuse_wrapping(text: str) -> None:
    """Refuse what was copied along with an address from somewhere else."""
    if text.lower().startswith("jdbc:"):
        raise ValueError("must be a URL without jdbc: in front, postgresql://user@host/name")
    assigned = _ASSIGNED.match(text)
    if assigned and assigned[1] not in OURS:
        raise ValueError("must be the address alone, without a name and = in front of it")
    if text[:1] in QUOTES:
        raise ValueError("stands in quotes; write it without them")


def _url(scheme: str, rest: str) -> str | Noted:
    if not rest.isprintable() or " " in rest:
        raise ValueError("holds a blank or a line break; in a password write a blank as %20")
    if re.search(r"%(?![0-9a-fA-F]{2})|%00", rest):
        raise ValueError("holds a % that begins no character; in a password write % as %25")
    parts = _REST.fullmatch(rest)
    if parts is None or not all(map(_is_host, parts[2].split(","))):
        raise ValueError(
            "its host can't be told; in a password write @ as %40, / as %2F and : as %3A"
        )
    credentials, hosts, name, query = parts.groups(default="")
    given = [_of_query(part) for part in query.split("&")] if query else []
    kept, ignored = _sorted_out(given, shown="@" not in query)
    behind = f"?{'&'.join(kept)}" if kept else ""
    return _noted(f"{scheme}://{credentials}{hosts}{name}{behind}", ignored)


def _is_host(text: str) -> bool:
    """Return True for a host, and a port that there can be."""
    host = _HOST.fullmatch(text)
    return host is not None and (not host[1] or 0 < int(host[1]) < 2**16)


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    value: str
    text: str
    """As it stands in the address."""

    @property
    def key(self) -> str:
        return self.name.lower().replace("-", "_")


def _of_query(text: str) -> _Parameter:
    name, separator, value = text.partition("=")
    if not separator or "=" in value:
        raise ValueError(
            "behind its ? must be parameters, name=value, with & between them; in a value write "
            "= as %3D and & as %26"
        )
    return _Parameter(unquote(name), unquote(value), text)


def _dsn(text: str) -> str | Noted:
    pairs = list(_PAIR.finditer(text))
    if sum(len(pair[0]) for pair in pairs) != len(text):
        raise ValueError("can't be read; write name=value, a value with a blank in it in '…'")
    given = [_Parameter(pair[1], pair[2].strip("'"), pair[0].strip()) for pair in pairs]
    kept, ignored = _sorted_out(given, shown=True)
    return _noted(" ".join(kept), ignored) if ignored else text


def _sorted_out(given: Iterable[_Parameter], *, shown: bool) -> tuple[list[str], list[str]]:
    """Return those for libpq, and the names of those for other programs.

    `shown`: an unknown name may be told; behind a password it may be a piece of it.
    """
    kept, ignored = [], []
    for parameter in given:
        if parameter.name in OURS or parameter.text == "ssl=true":  # which libpq knows from JDBC
            _check(parameter)
            kept.append(parameter.text)
            shown = shown and "password" not in parameter.name
        elif _is_ignored(parameter):
            ignored.append(parameter.name)
        else:
            raise _unknown(parameter.name if shown else "")
    return kept, ignored


def _check(parameter: _Parameter) -> None:
    if parameter.name == "sslmode" and parameter.value not in SSLMODES:
        raise ValueError(
            f"its sslmode is none of {', '.join(SSLMODES)} (for no-verify write require)"
        )


def _is_ignored(parameter: _Parameter) -> bool:
    """Return True for a setting of another program's without which the address means the same."""
    if parameter.key in SCHEMAS and parameter.value != "public":
        raise ValueError(
            f"{parameter.name} is not a parameter of PostgreSQL; for tables in another schema than "
            "public write options=-csearch_path%3DNAME"
        )
    if parameter.key in ENCRYPTION and parameter.value.lower() not in OFF:
        raise ValueError(
            f"{parameter.name} is not a parameter of PostgreSQL; write sslmode=require"
        )
    return parameter.key in FOREIGN | SCHEMAS | ENCRYPTION


def _unknown(name: str) -> ValueError:
    if not re.fullmatch(r"[A-Za-z][\w.-]{1,40}", name):
        return ValueError("has a parameter that PostgreSQL does not know; take it out")
    near = difflib.get_close_matches(name.lower(), OURS, n=1)
    meant = f" (is {near[0]} meant?)" if near else "; take it out"
    return ValueError(f"{name} is not a parameter of PostgreSQL{meant}")


def _noted(address: str, ignored: list[str]) -> str | Noted:
    if not ignored:
        return address
    names = ", ".join(dict.fromkeys(ignored))
    verb = "are settings" if len(set(ignored)) > 1 else "is a setting"
    return Noted(address, (f"{names} {verb} of other programs and ignored here",))
