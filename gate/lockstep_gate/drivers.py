"""Drivers: which of PostgreSQL's drivers a command uses, what a URL must not ask of it, and an engine on it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, pool
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

# In the order in which they are taken where a URL names none, or one that is not installed.
DRIVERS = ("psycopg2", "psycopg", "pg8000", "asyncpg")
CONNECT_TIMEOUT_S = 3


def of(scheme: str) -> str:
    """Return the scheme of SQLAlchemy's for a driver that is installed: the URL's own where it is one of ours."""
    _, _, named = scheme.partition("+")
    there = [driver for driver in (named, *DRIVERS) if driver in DRIVERS and importlib.util.find_spec(driver)]
    return f"postgresql+{there[0] if there else DRIVERS[0]}"


def fault_of(url: URL) -> str | None:
    """Say what the driver cannot do with a URL, naming options and no values."""
    driver = url.get_driver_name()
    try:
        module = importlib.import_module(driver)
        arguments, options = url.get_dialect()().create_connect_args(url)
        if driver == "psycopg2":
            importlib.import_module("psycopg2.extensions").make_dsn(*arguments, **options)
        elif driver == "psycopg":
            options.pop("context", None)
            module.conninfo.make_conninfo(*arguments, **options)
    except ImportError:
        return f"needs a driver that is not installed (one of {', '.join(DRIVERS)})"
    except (ArgumentError, ValueError, TypeError, getattr(module, "Error", SQLAlchemyError)):
        return f"has options that PostgreSQL's client library does not know (among: {', '.join(sorted(url.query))})"
    return None


def engine(url: URL, *, statement_timeout_s: float, commit: str) -> Engine | AsyncEngine:
    """Return an engine for a command that asks: a connection at a time, bounded in time, nothing kept."""
    options: dict[str, Any] = {"poolclass": pool.NullPool, "hide_parameters": True}
    driver = url.get_driver_name()
    if driver == "asyncpg":
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        made = create_async_engine(url, connect_args={"timeout": CONNECT_TIMEOUT_S}, **options)
        _limit(made.sync_engine, statement_timeout_s)
        return made
    how: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_S}
    if driver in ("psycopg2", "psycopg"):
        how = {
            "application_name": f"gate/{commit[:12]}", "client_encoding": "utf8",
            "connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": 10_000,
        }  # fmt: skip
    made = create_engine(url, connect_args=how, **options)
    _limit(made, statement_timeout_s)
    return made


def _limit(made: Engine, statement_timeout_s: float) -> None:
    statement_ms = int(statement_timeout_s * 1000)

    @event.listens_for(made, "connect")
    def limit(connection: Any, _record: Any) -> None:
        # By SET, not by the `options` start-up parameter: poolers refuse the latter.
        cursor = connection.cursor()
        cursor.execute(f"SET statement_timeout = {statement_ms}")
        cursor.close()
        connection.commit()
