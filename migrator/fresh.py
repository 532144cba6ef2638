"""Fresh: an empty database, a manifest and a checkpoint of the same revisions in, the database at head out.

What `upgrade` does with a checkpoint, in the same order and by the same stages, where nothing is left to apply: so
neither Alembic, nor SQLAlchemy, nor any revision file has to be loaded, and one connection is enough, that of the quick
way: it holds the lock as well. Whatever is otherwise goes the whole way.
"""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from migrator import answer, connect, exposure, holding, ledger, lock, manifest, settings
from migrator.checkpoint import file, load
from migrator.errors import MigratorError
from migrator.outcome import Outcome
from migrator.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from migrator.checkpoint.file import Checkpoint
    from migrator.connect import Control
    from migrator.manifest import Manifest
    from migrator.means import Means

# As Alembic makes it.
_VERSION_TABLE = (
    "CREATE TABLE migrator.alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)); "
    "INSERT INTO migrator.alembic_version SELECT unnest(%(heads)s::text[])"
)
# What an app that never reported may need of an empty database, until a run is done: see guard.py.
_AT_HEAD = f"{_VERSION_TABLE}; UPDATE migrator.run SET found = %(found)s WHERE id = %(run)s"  # noqa: S608 - our own text
# The log keeps the order of commits: the release's row and the run's end wait for the disk, and so do all before them.
_NO_FLUSH = "SET synchronous_commit = off"
_AS_AT_START = f"RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {_NO_FLUSH}"

_OTHERWISE = -1  # no exit code


class _OtherThanThought(Exception):
    """The whole way has to look."""


def upgrade(known: Manifest, run_id: str, place: str, there: Connection) -> int | None:
    """Load the checkpoint and return the exit code; None, with nothing changed, where that is not all to be done."""
    report = Report(verb="upgrade")

    def work() -> int:
        try:
            found = _of_these(known, place)
            chosen = settings.load()._replace(run_id=run_id)
            with holding.connected(chosen, Report(quiet=True), there) as means:
                return _upgrade(means._replace(tell=report.line), known, found, report)
        except _OtherThanThought:
            return _OTHERWISE

    code = answer.answered(report, work)
    return None if code == _OTHERWISE else code


def _of_these(known: Manifest, place: str) -> Checkpoint:
    """Return the checkpoint if it is of exactly the revisions that the manifest was seen to be of."""
    try:
        path = file.path(place, manifest.HERE)
        found = file.read(path) if path else None
    except MigratorError as error:
        raise _OtherThanThought from error
    if found is None or not known.contract or found.heads != known.heads:
        raise _OtherThanThought
    if manifest.digest_of(found.seals) != known.seals:
        raise _OtherThanThought
    return found


def _upgrade(means: Means, known: Manifest, found: Checkpoint, report: Report) -> int:
    control, outcome = means.control, Outcome()
    wait = means.deadline.sooner(means.settings.lock_wait_ms)
    with lock.held(control, wait, means.interrupt, means.tell):
        empty, *here = load.is_empty(control.rows)
        # No ledger: so no release is known that could need anything, and nobody has reported.
        if not empty or ledger.version(control) or load.unfit(found, *here) or exposure.watch(control, means.settings):
            raise _OtherThanThought
        control.rows(_NO_FLUSH)
        with holding.recorded(means, "upgrade", "migrator", outcome) as own:
            with _flushed_after(control):
                _load(own, known, found)
                outcome.heads_after, outcome.loaded = found.heads, tuple(found.seals)
                _serving().note(own, known)
            with _transaction(own) as connection:
                _serving().record(connection, own, known)
    at = ", ".join(found.heads)
    return report.finish(
        0,
        "done",
        f"done: {len(found.seals)} loaded from the checkpoint, 0 applied, the database is at {at} (safe to run again)",
    )


@contextlib.contextmanager
def _flushed_after(control: Control) -> Iterator[None]:
    """Have what comes after the block wait for the disk, as the server is set up to."""
    try:
        yield
    finally:
        if not control.raw.closed:
            control.rows("SET synchronous_commit TO DEFAULT")


def _load(means: Means, known: Manifest, found: Checkpoint) -> None:
    begun = time.monotonic()
    control = means.control
    with load.errors(means, found, lambda: bool(control.raw.closed)), _transaction(means) as connection:
        with _meanwhile(known), connection.raw.cursor() as cursor:
            load.into(cursor, found, means.run)
        control.rows(_AT_HEAD, {"heads": list(found.heads), "found": _serving().NOTHING, "run": means.run})
    control.rows(_AS_AT_START)
    control.bound(means.settings)
    means.tell(load.line(found, time.monotonic() - begun))


def _serving() -> ModuleType:
    from migrator import serving  # noqa: PLC0415 - see _meanwhile

    return serving


@contextlib.contextmanager
def _meanwhile(known: Manifest) -> Iterator[None]:
    """Load what is needed next while the server is at work; what is wrong with it is found when it is used."""

    def work() -> None:
        with contextlib.suppress(Exception):
            _serving().needed(known.contract)

    thread = threading.Thread(target=work, daemon=True, name="meanwhile")
    thread.start()
    try:
        yield
    finally:
        thread.join()


class _Plain:
    """A driver's connection as the stages ask one of SQLAlchemy's."""

    def __init__(self, raw: Any) -> None:
        self.raw = self.connection = raw
        self.info: dict[str, Any] = {}
        self.dialect = SimpleNamespace(server_version_info=divmod(raw.server_version, 10000))

    def in_transaction(self) -> bool:
        return True

    def exec_driver_sql(self, sql: str, parameters: dict[str, Any] | None = None) -> Any:
        cursor = self.raw.cursor()
        cursor.execute(sql, parameters or {})
        return SimpleNamespace(cursor=cursor)


@contextlib.contextmanager
def _transaction(means: Means) -> Iterator[_Plain]:
    """Give the connection in a transaction of the app's own search path, whose statements a signal cancels."""
    control = means.control
    means.interrupt.check()
    limit = f"SET LOCAL statement_timeout = {max(1, int(means.deadline.left() * 1000))}"
    control.rows(f"BEGIN; {limit}; SET LOCAL search_path TO DEFAULT; {connect.LEDGER_OUT_FOR_THE_TRANSACTION}")
    try:
        with _cancelled(means):
            yield _Plain(control.raw)
        control.rows("COMMIT")
    except BaseException:
        if not control.raw.closed:
            control.rows("ROLLBACK")
        raise


@contextlib.contextmanager
def _cancelled(means: Means) -> Iterator[None]:
    """Have a signal cancel what runs in the block, and nothing after it; on a connection that is made for it."""
    control, mutex, over = means.control, threading.Lock(), threading.Event()

    def cancel() -> None:
        with mutex:
            if not over.is_set():
                with contextlib.closing(connect.open_connection(control.where, 1)) as other:
                    other.cursor().execute("SELECT pg_cancel_backend(%s)", (control.pid,))

    means.interrupt.cancel = cancel
    try:
        yield
    finally:
        means.interrupt.cancel = lambda: None
        with mutex:
            over.set()
