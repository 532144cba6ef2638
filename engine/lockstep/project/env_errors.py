"""Env errors: turn whatever env.py, its driver or Alembic raise into one clear line with its cure and exit code."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from lockstep.errors import Busy, MigratorError, Refused, StepFailed, Unreachable
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def translated(env_py: Path, failed: Sequence[BaseException] = (), places: Sequence[Path] = ()) -> Iterator[None]:
    """Turn what is raised in the block into an expected error.

    What the work itself raised, `failed`, counts, whatever env.py made of it; `places` are those of the revisions.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # noqa: BLE001 - env.py may raise anything
        error = failed[0] if failed else raised
        if isinstance(error, KeyboardInterrupt | MigratorError):
            raise error from error.__cause__
        raise in_words(error, env_py, places) from error


def in_words(  # noqa: PLR0911 - one a kind of error
    error: BaseException, env_py: Path, places: Sequence[Path] = ()
) -> MigratorError:
    """Return the error in the words, and with the exit code, that the operator needs."""
    text, state = one_line(error), sqlstate.of(error)
    if isinstance(error, CommandError):
        return StepFailed(text, "see the project's env.py and revision files")
    if _is_of_connecting(error):
        return Unreachable(
            f"env.py cannot connect: {text}", "check that the database runs and can be reached from here"
        )
    if _kind(error) == "InterfaceError" and isinstance(error, DBAPIError):  # what a broken connection says later
        return Unreachable(
            f"the connection was lost; the server rolls back what was open ({text})",
            "the next run goes on from what the ledger shows as applied",
        )
    if state == sqlstate.INSUFFICIENT_PRIVILEGE:
        said = getattr(getattr(getattr(error, "orig", error), "diag", None), "message_primary", None) or text
        return Refused(
            f"this role may not do that: {said}",
            "run the migrator with the role that owns the database and its schema",
        )
    if state == sqlstate.LOCK_NOT_AVAILABLE:
        return Busy(f"a lock was not got in time outside of a revision: {text}", "see who holds it (pg_locks)")
    if where := _in_revision(error, places):
        return StepFailed(f"{where} failed: {type(error).__name__}: {text}", "correct the file")
    if state and _came_through(error, env_py):
        return StepFailed(f"the server refused a statement: {text}", "see what the statement was with --debug")
    cure = f"correct {env_py}"
    if isinstance(error, ModuleNotFoundError):
        cure = f"install what {env_py} imports beside the migrator, or name where it lies in prepend_sys_path"
    return StepFailed(f"{env_py.name} failed: {type(error).__name__}: {text}", cure)


def _in_revision(error: BaseException, places: Sequence[Path]) -> str:
    """Return the revision file and line that an error came from; empty where it came from none."""
    found = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if any(Path(frame.filename).is_relative_to(place) for place in places)
    ]
    return found[-1] if found else ""


def _came_through(error: BaseException, env_py: Path) -> bool:
    """Tell whether env.py had handed over already: its last call is `run_migrations`, or the engine's own way in."""
    lines = [frame.line or "" for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(env_py)]
    return bool(lines) and any(word in lines[-1] for word in ("run_migrations", "stock_alembic.enter"))


def _is_of_connecting(error: BaseException) -> bool:
    """Tell whether a database was not reached; asyncpg lets what the system says through as it is."""
    unreached = isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) == -2  # noqa: PLR2004 - no such host
    return unreached or (_kind(error) == "OperationalError" and not sqlstate.of(error))


def _kind(error: BaseException) -> str:
    return type(getattr(error, "orig", None) or error).__name__


def one_line(error: object) -> str:
    """Return what an error says, on one line; the driver's own words where it is one of a driver's."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
