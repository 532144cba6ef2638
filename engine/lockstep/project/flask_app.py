"""Flask app: an application context around an env.py that uses Flask's `current_app`.

The application is found as Flask's own command finds it: `FLASK_APP` (`--app`), else `wsgi.py` or `app.py`, with a
factory or without. What Flask-Migrate's command gives to env.py besides is given as well.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import TYPE_CHECKING

from lockstep.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alembic.config import Config
    from flask import Flask


@contextlib.contextmanager
def context(env_py: Path, config: Config, named: str = "") -> Iterator[None]:
    """Be in the application's context while the block runs, where env.py needs one and nobody has made one."""
    if not _needs_one(env_py):
        yield
        return
    from flask import has_app_context  # noqa: PLC0415 - a project's own, of use for such an env.py only

    if has_app_context():
        yield
        return
    app = _found(named)
    with app.app_context():
        migrate = getattr(app.extensions.get("migrate"), "migrate", None)
        if migrate is not None:
            migrate.call_configure_callbacks(config)
        yield


def _needs_one(env_py: Path) -> bool:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if "current_app" in env_py.read_text(encoding="utf-8"):
            return importlib.util.find_spec("flask") is not None
    return False


def _found(named: str) -> Flask:
    from flask.cli import NoAppException, ScriptInfo  # noqa: PLC0415

    place = named or os.environ.get("FLASK_APP") or None
    try:
        return ScriptInfo(app_import_path=place).load_app()
    except NoAppException as error:
        text = " ".join(str(error).split())
        raise Usage(
            f"env.py needs Flask's application, and it was not found: {text}",
            "set FLASK_APP (or --app) to it, as for `flask db`: shop.py, shop:app or shop:create_app",
        ) from None
