"""Env URL: the database URL that env.py is to see, for its own driver; or the one that it has by itself."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from lockstep.project.alembic_config import script_location

if TYPE_CHECKING:
    from alembic.config import Config

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+(\w+))?://")
_ASYNCHRONOUS = ("asyncpg", "psycopg", "psycopg_async")
_MAKES_ASYNCHRONOUS = ("async_engine_from_config", "create_async_engine", "AsyncEngine")


def for_env(url: str, config: Config) -> str:
    """Return the URL as env.py is to see it: with a driver that it can use, and that is installed here.

    Unnamed, the driver of SQLAlchemy 2.1 would be psycopg 3; an asynchronous engine needs one of its own.
    """
    env_py = Path(script_location(config)) / "env.py"
    if not _is_asynchronous(env_py):
        return _SCHEME.sub("postgresql+psycopg2://", url)
    own = config.file_config.get(config.config_ini_section, "sqlalchemy.url", fallback="", raw=True)
    named = [match[1] for text in (url, own) if (match := _SCHEME.match(text))]
    chosen = [name for name in (*named, "asyncpg", "psycopg") if name in _ASYNCHRONOUS and _is_here(name)]
    driver = chosen[0] if chosen else "asyncpg"
    return _for_asyncpg(url) if driver == "asyncpg" else _SCHEME.sub(f"postgresql+{driver}://", url)


def _is_asynchronous(env_py: Path) -> bool:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = env_py.read_text(encoding="utf-8")
        return any(word in text for word in _MAKES_ASYNCHRONOUS)
    return False


def _is_here(driver: str) -> bool:
    return importlib.util.find_spec(driver.partition("_")[0]) is not None


def _for_asyncpg(url: str) -> str:
    """Return a URL that asyncpg takes: of libpq's options it knows only how to encrypt, by another name."""
    made = sa.make_url(_SCHEME.sub("postgresql+asyncpg://", url))
    query = {name: value for name, value in made.query.items() if name in ("ssl", "host", "port")}
    if "sslmode" in made.query:
        query["ssl"] = made.query["sslmode"]
    return made.set(query=query).render_as_string(hide_password=False)
