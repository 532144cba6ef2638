"""Settings: what the gate's commands are told by the environment, checked, and the reader that an app may use too."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lockstep_gate import drivers, durations, release

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PORT = 65535


class SettingsError(Exception):
    """What is wrong with the environment, a line for each variable, each with its cure."""


@dataclass(frozen=True)
class Settings:
    """What a command of the gate was told, checked."""

    database_url: URL = field(repr=False)
    commit: str
    statement_timeout_s: float


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`, or raise SettingsError naming every variable that is wrong."""
    reader = Reader(environ)
    url = reader.database_url("DATABASE_URL")
    statement_timeout_s = reader.duration("STATEMENT_TIMEOUT", default="5s", least_s=0.1, most_s=300)
    if reader.faults or url is None:
        raise SettingsError("\n".join(reader.faults))
    return Settings(url, release.commit_of(environ), statement_timeout_s)


class Reader:
    """Parses variables one by one and remembers what was wrong, so that one start shows every fault."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read nothing yet."""
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
        """Return a duration in seconds, within its bounds."""
        value = self.environ.get(name, "").strip() or default
        try:
            seconds = durations.seconds(value)
        except ValueError:
            seconds = -1.0
        if least_s <= seconds <= most_s:
            return seconds
        self.faults.append(
            f"{name}={value[:40]!r} is not a duration from {least_s:g}s to {most_s:g}s, such as 30s or 1m"
        )
        return 0.0

    def database_url(self, name: str, driver: str | None = None) -> URL | None:
        """Return the database's URL for a driver that is there; the value itself never gets into a message."""
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
        fault = _url_fault(url, driver)
        if not fault:
            url = url.set(drivername=driver or drivers.of(url.drivername))
            fault = drivers.fault_of(url)
        if fault:
            self.faults.append(f"{name} {fault}: {example}")
            return None
        return url


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


def _url_fault(url: URL, driver: str | None) -> str | None:
    """Say what keeps us from using `url`, in words that give no part of it away."""
    scheme, plus, _ = url.drivername.partition("+")
    if scheme not in ("postgres", "postgresql") or (driver and plus and url.drivername != driver):
        return "is not a postgresql:// URL"
    if not url.database:
        return "names no database"
    if not (url.host or "host" in url.query):
        return "names no host"
    if url.port is not None and not 1 <= url.port <= MAX_PORT:
        return f"names a port that is not a number from 1 to {MAX_PORT}"
    return None
