"""Driver: nothing in, the core of psycopg2 out: its C module, without the Python modules around it.

`import psycopg2` loads adapters for JSON, ranges and decimals, and its C module loads Python's `ssl`, only so that the
locks of an OpenSSL before 1.1 are set up once; together three times the work of the core itself. Neither is needed to
ask one question. Where `ssl` cannot be imported, psycopg2 leaves those locks to libpq: that is a way of its own, which
a Python built without `ssl` takes.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from psycopg2.extensions import connection as Connection  # noqa: N812

_PASSWORD = b"PGPASSWORD"
# Within a minute a network that swallows packets is told; what was sent and never received no keepalive looks after.
NETWORK = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000"}


def core() -> "ModuleType":
    """Return psycopg2's C module; ImportError where it cannot be had without the rest."""
    if "psycopg2" in sys.modules:
        from psycopg2 import _psycopg  # noqa: PLC0415 - whoever loaded it has paid for it

        return _psycopg
    # A package of the same place in whose name the C module is loaded; psycopg2's own __init__.py is not run.
    package = type(sys)("psycopg2")
    package.__path__ = _place()
    aside = {"psycopg2": package} | ({} if "ssl" in sys.modules else {"ssl": None})
    sys.modules.update(aside)  # type: ignore[arg-type] - None is how the import system is told that there is none
    try:
        from psycopg2 import _psycopg  # noqa: PLC0415
    finally:
        for name in aside:
            del sys.modules[name]
    return _psycopg


def complete() -> None:
    """Load the rest, where the core was loaded alone: for all who `import psycopg2` after this."""
    parts = {name: sys.modules.get(f"psycopg2.{name}") for name in ("_psycopg", "errors")}
    if all(parts.values()):
        import psycopg2  # noqa: PLC0415

        vars(psycopg2).update(parts)  # what the import of a part does, which has been


def connect(core: "ModuleType", where: dict[str, str]) -> "Connection":
    """Open a connection; its password goes by the environment, for that moment.

    For one with a password among its words psycopg2 makes a text of those words without it, and loads all the rest
    to do so.
    """
    password = where.get("password")
    words = [f"{name}={_quoted(value)}" for name, value in where.items() if name != "password"]
    before = os.environb.get(_PASSWORD)
    if password is not None:
        os.environb[_PASSWORD] = password.encode()
    try:
        return core._connect(" ".join(words))  # noqa: SLF001 - what psycopg2.connect calls
    finally:
        if before is not None:
            os.environb[_PASSWORD] = before
        elif password is not None:
            del os.environb[_PASSWORD]


def _quoted(value: str) -> str:
    """Return a value as libpq reads it in a list of words."""
    return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"


def _place() -> list[str]:
    for finder in sys.meta_path:
        found = finder.find_spec("psycopg2", None)
        if found is not None:
            return list(found.submodule_search_locations or ())
    raise ImportError("no psycopg2", name="psycopg2")
