"""Settings: the process environment in, one frozen and checked object out.

Read once, by whoever starts the process; nothing else in the app looks at the environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import make_dsn
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

DRIVER = "postgresql+psycopg2"
SCHEMES = ("postgres", "postgresql", DRIVER)
UNITS_IN_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_PORT = 65535


class SettingsError(Exception):
    """What is wrong with the environment, a line for each variable, each with its cure."""


@dataclass(frozen=True)
class Settings:
    """What this process was told, checked."""

    database_url: URL = field(repr=False)
    commit: str
    host: str
    port: int
    pool_size: int
    statement_timeout_s: float
    report_interval_s: float
    request_limit_bytes: int
    shutdown_timeout_s: float
    trusted_proxies: str


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`, or raise SettingsError naming every variable that is wrong."""
    reader = Reader(environ)
    url = reader.database_url("DATABASE_URL")
    settings = {
        "commit": environ.get("IMAGE_COMMIT") or environ.get("RENDER_GIT_COMMIT") or "unknown",
        "host": environ.get("HOST") or "0.0.0.0",  # noqa: S104 - a container's port is reached from outside it
        "port": reader.number("PORT", default=8000, least=0, most=MAX_PORT),
        "pool_size": reader.number("DATABASE_POOL_SIZE", default=5, least=1, most=100),
        "statement_timeout_s": reader.duration("STATEMENT_TIMEOUT", default="5s", least_s=0.1, most_s=300),
        # The migrator counts a release as live for minutes after its last report; reports must come well within.
        "report_interval_s": reader.duration("REPORT_INTERVAL", default="60s", least_s=0.1, most_s=300),
        "request_limit_bytes": reader.number("REQUEST_LIMIT_BYTES", default=65_536, least=256, most=10_485_760),
        # Below the 30 s that platforms wait between SIGTERM and SIGKILL.
        "shutdown_timeout_s": reader.duration("SHUTDOWN_TIMEOUT", default="20s", least_s=1, most_s=300),
        "trusted_proxies": environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1",
    }
    if reader.faults or url is None:
        raise SettingsError("\n".join(reader.faults))
    return Settings(database_url=url, **settings)


class Reader:
    """Parses variables one by one and remembers what was wrong, so that one start shows every fault."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[str] = []

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        """Return a whole number within its bounds."""
        value = self.environ.get(name, "").strip() or str(default)
        if re.fullmatch(r"[0-9]{1,9}", value) and least <= int(value) <= most:
            return int(value)
        self.faults.append(f"{name}={value[:40]!r} is not a whole number from {least} to {most}")
        return default

    def duration(self, name: str, *, default: str, least_s: float, most_s: float) -> float:
        """Return a duration in seconds, written as 90, 90s, 1.5m or 500ms."""
        value = self.environ.get(name, "").strip() or default
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)?", value)
        if match:
            seconds = float(match[1]) * UNITS_IN_SECONDS[match[2] or "s"]
            if least_s <= seconds <= most_s:
                return seconds
        self.faults.append(
            f"{name}={value[:40]!r} is not a duration from {least_s:g}s to {most_s:g}s, such as 30s or 1m"
        )
        return 0.0

    def database_url(self, name: str) -> URL | None:
        """Return the database's URL for our driver; the value itself never gets into a message."""
        example = "give postgresql://user:password@host:port/database"
        value = self.environ.get(name, "").strip() or _url_of_parts(self.environ)
        if not value:
            self.faults.append(f"{name} is not set: {example}")
            return None
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            self.faults.append(f"{name} is not a URL: {example}, with special characters percent-encoded")
            return None
        fault = _url_fault(url)
        if fault:
            self.faults.append(f"{name} {fault}: {example}")
            return None
        return url.set(drivername=DRIVER)


def _url_of_parts(environ: Mapping[str, str]) -> str:
    """Return the URL that DATABASE_HOST and its like make: a Blueprint of Render's can give parts, and join none."""
    names = {"host": "HOST", "port": "PORT", "database": "NAME", "username": "USER", "password": "PASSWORD"}
    parts = {part: environ.get(f"DATABASE_{name}", "").strip() for part, name in names.items()}
    if not parts["host"]:
        return ""
    port = parts.pop("port") or "5432"
    # A port that is no number is said to be one by the check that every URL goes through.
    url = URL.create("postgresql", port=int(port) if port.isdecimal() else 0, **parts)
    return url.render_as_string(hide_password=False)


def _url_fault(url: URL) -> str | None:
    """Say what keeps us from using `url`, in words that give no part of it away but names of options."""
    if url.drivername not in SCHEMES:
        return "is not a postgresql:// URL"
    if not url.database:
        return "names no database"
    if not (url.host or "host" in url.query):
        return "names no host"
    if url.port is not None and not 1 <= url.port <= MAX_PORT:
        return "names a port that cannot be"
    try:
        arguments, options = PGDialect_psycopg2().create_connect_args(url.set(drivername=DRIVER))
        make_dsn(*arguments, **options)
    except (psycopg2.Error, ArgumentError, ValueError, TypeError):
        return f"has options that PostgreSQL's client library does not know (among: {', '.join(sorted(url.query))})"
    return None
