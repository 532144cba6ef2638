"""Address: where a database URL points, without its secrets; or a line that says what is wrong with it."""

from __future__ import annotations

import re
from typing import NamedTuple

import psycopg2
import psycopg2.extensions

from lockstep.errors import Usage

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://")  # the app's driver may be another one: it is the same database
_PORTS = range(1, 65536)
_LONGEST_LABEL = 63
_HOST_AND_PORT = re.compile(r"^([^/:,\[\]]+):(\d+)$")


class Address(NamedTuple):
    """Where a URL points, without its secrets."""

    dsn: str
    shown: str
    host: str
    port: int

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Address({self.shown})"


def address(url: str, variable: str = "MIGRATOR_DATABASE_URL") -> Address:
    """Return where a URL points; raise Usage when it is no PostgreSQL URL. Never echoes the URL."""
    url = url.strip()
    if not url:
        raise Usage(
            "no database URL is set",
            "set MIGRATOR_DATABASE_URL (or DATABASE_URL) to postgresql://user:…@host:port/name",
        )
    if not _SCHEME.match(url):
        raise Usage(f"{variable} is not a PostgreSQL URL", "it has to begin with postgresql://")
    dsn = _hosts_as_libpq_has_them(_SCHEME.sub("postgresql://", url))
    parts = _parts(dsn, variable)
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    ports = [int(port or 5432) for port in parts.get("port", "").split(",")]
    return Address(dsn, f"{parts.get('user', '')}@{_places(host, ports)}/{parts.get('dbname', '')}", host, ports[0])


def _places(host: str, ports: list[int]) -> str:
    """Return hosts and ports as libpq pairs them: a single port counts for all hosts."""
    hosts = host.split(",")
    each = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    return ",".join(f"{name}:{port}" for name, port in zip(hosts, each, strict=True))


def _hosts_as_libpq_has_them(dsn: str) -> str:
    """Write SQLAlchemy's `?host=a:1&host=b:2` as libpq's `?host=a,b&port=1,2`; leave every other URL as it is.

    https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#specifying-multiple-fallback-hosts
    """
    head, mark, query = dsn.partition("?")
    options = query.split("&")
    named = [item.removeprefix("host=") for item in options if item.startswith("host=")]
    if len(named) < 2 and not any(_HOST_AND_PORT.match(name) for name in named):  # noqa: PLR2004
        return dsn
    pairs = [_HOST_AND_PORT.match(name) for name in named]
    hosts = ",".join(pair[1] if pair else name for pair, name in zip(pairs, named, strict=True))
    ports = ",".join(pair[2] if pair else "" for pair in pairs)
    rest = [item for item in options if not item.startswith("host=")]
    more = [f"port={ports}"] if ports.strip(",") else []
    return head + mark + "&".join((*rest, f"host={hosts}", *more))


def _parts(dsn: str, variable: str) -> dict[str, str]:
    """Return what libpq reads out of a URL; raise Usage where it cannot, or where a password was not encoded."""
    cannot = f"{variable} cannot be read as a URL"
    cure = "percent-encode special characters in user and password (@ is %40, / is %2F, % is %25)"
    rest = dsn.removeprefix("postgresql://")
    if re.search(r"\s", rest):
        raise Usage(f"{variable} holds white space", "in a name or a password a space is written as %20")
    # With a bare @ or / in it, libpq would take the end of the password for the host, and messages would show it.
    if rest.count("@") > 1 or ("@" in rest and "/" in rest.partition("@")[0]) or "\0" in rest:
        raise Usage(cannot, cure)
    try:
        parts: dict[str, str] = psycopg2.extensions.parse_dsn(dsn)
        ports = [int(port) if port.isdecimal() else 0 for port in parts.get("port", "5432").split(",") if port]
        for host in parts.get("host", "").split(","):
            *above, last = host.split(".")
            if not host.isascii() or max(map(len, (*above, last))) > _LONGEST_LABEL or not all(above):
                host.startswith(("/", "@")) or host.encode("idna")  # what asking for its address would fail on
    except UnicodeError:
        raise Usage(f"{variable} holds a host name that is not valid", "check what stands behind the @") from None
    except (psycopg2.Error, ValueError) as error:
        if "query parameter" in str(error):
            raise Usage(
                f"{variable} holds an option that PostgreSQL does not know",
                "after the ? only libpq's options may stand (sslmode, not ssl)",
            ) from None
        raise Usage(cannot, cure) from None
    if not all(port in _PORTS for port in ports):
        raise Usage(f"{variable} names a port that is not valid", "it is a number from 1 to 65535")
    return parts
