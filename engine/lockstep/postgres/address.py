"""Address: a database URL in, where it points out, without its secrets; or a line that says what is wrong with it."""

from __future__ import annotations

import re
from typing import NamedTuple

import psycopg2
import psycopg2.extensions

from lockstep.errors import Usage

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://")  # the app's driver may be another one: it is the same database
_PORTS = range(1, 65536)
_LONGEST_LABEL = 63


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
    dsn = _SCHEME.sub("postgresql://", url)
    parts = _parts(dsn, variable)
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    port = int(parts.get("port", "").split(",")[0] or 5432)
    return Address(dsn, f"{parts.get('user', '')}@{host}:{port}/{parts.get('dbname', '')}", host, port)


def _parts(dsn: str, variable: str) -> dict[str, str]:
    """Return what libpq reads out of a URL; raise Usage where it cannot, or where a password was not encoded."""
    cannot = f"{variable} cannot be read as a URL"
    cure = "percent-encode special characters in user and password (@ is %40, / is %2F, % is %25)"
    rest = dsn.removeprefix("postgresql://")
    # With a bare @ or / in it, libpq would take the end of the password for the host, and messages would show it.
    if rest.count("@") > 1 or ("@" in rest and "/" in rest.partition("@")[0]) or re.search(r"[\s\0]", rest):
        raise Usage(cannot, cure)
    try:
        parts: dict[str, str] = psycopg2.extensions.parse_dsn(dsn)
        ports = [int(port) for port in parts.get("port", "5432").split(",") if port]
        for host in parts.get("host", "").split(","):
            *above, last = host.split(".")
            if not host.isascii() or max(map(len, (*above, last))) > _LONGEST_LABEL or not all(above):
                host.startswith(("/", "@")) or host.encode("idna")  # what asking for its address would fail on
    except UnicodeError:
        raise Usage(f"{variable} holds a host name that cannot be", "check what stands behind the @") from None
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
