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
from typing import TYPE_CHECKING, Any, Self

from lockstep import exits, ledger, settings
from lockstep.errors import MigratorError
from lockstep.postgres import connect, lock
from lockstep.postgres.limits import LEDGER_OUT_FOR_THE_TRANSACTION
from lockstep.project import checkpoint_file, manifest
from lockstep.report import Report
from lockstep.upgrade import checkpoint_text, exposure, holding
from lockstep.upgrade.outcome import Outcome

if TYPE_CHECKING:
    from types import ModuleType

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from lockstep.ledger.run_context import Means
    from lockstep.project.checkpoint_file import Checkpoint
    from lockstep.project.manifest import Manifest

# As Alembic makes it.
_VERSION_TABLE = (
    "CREATE TABLE migrator.alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)); "
    "INSERT INTO migrator.alembic_version SELECT unnest(%(heads)s::text[])"
)
# What an app that never reported may need of an empty database, until a run is done: see guard.py.
_AT_HEAD = f"{_VERSION_TABLE}; UPDATE migrator.run SET found = %(found)s WHERE id = %(run)s"  # noqa: S608 - our own text
# The log keeps the order of commits: the release's row and the run's end wait for the disk, and so do all before them.
_NO_FLUSH, _FLUSH = "SET synchronous_commit = off", "SET synchronous_commit TO DEFAULT"
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

    code = exits.answered(report, work)
    return None if code == _OTHERWISE else code


def _of_these(known: Manifest, place: str) -> Checkpoint:
    """Return the checkpoint if it is of exactly the revisions that the manifest was seen to be of."""
    try:
        path = checkpoint_file.path(place, manifest.HERE)
        found = checkpoint_file.read(path) if path else None
    except MigratorError as error:
        raise _OtherThanThought from error
    if found is None or not known.contract or found.heads != known.heads:
        raise _OtherThanThought
    if manifest.digest_of(found.seals) != known.seals:
        raise _OtherThanThought
    return found


def _upgrade(means: Means, known: Manifest, found: Checkpoint, report: Report) -> int:
    """Under the run lock: look, load, note, and record, in the order in which the whole way does it."""
    control, outcome = means.control, Outcome()
    wait = means.deadline.sooner(means.settings.lock_wait_ms)
    with lock.held(control, wait, means.interrupt, means.tell):
        _require_fit(means, found)
        control.rows(_NO_FLUSH)
        with holding.recorded(means, "upgrade", "migrator", outcome) as own:
            try:
                _load(own, known, found)
                outcome.heads_after, outcome.loaded = found.heads, tuple(found.seals)
                _serving().note(own, known)
            finally:
                if not control.raw.closed:
                    control.rows(_FLUSH)
            with _Transaction(own) as connection:
                _serving().record(connection, own, known)
    at = ", ".join(found.heads)
    return report.finish(
        0,
        "done",
        f"done: {len(found.seals)} loaded from the checkpoint, 0 applied, the database is at {at} (safe to run again)",
    )


def _require_fit(means: Means, found: Checkpoint) -> None:
    """Raise _OtherThanThought unless the database is as empty, and the server as usual, as the checkpoint needs it."""
    control = means.control
    empty, *here = checkpoint_text.is_empty(control.rows)
    # No ledger: so no release is known that could need anything, and nobody has reported.
    if (
        not empty
        or ledger.version(control)
        or checkpoint_text.unfit(found, *here)
        or exposure.watch(control, means.settings)
    ):
        raise _OtherThanThought


def _load(means: Means, known: Manifest, found: Checkpoint) -> None:
    """Load it in one transaction; what is needed next is imported while the server is at work at the file."""
    begun = time.monotonic()
    control = means.control
    meanwhile = threading.Thread(target=_get_ready, args=(known,), daemon=True, name="meanwhile")
    with checkpoint_text.errors(means, found, lambda: bool(control.raw.closed)), _Transaction(means) as connection:
        meanwhile.start()
        try:
            with connection.raw.cursor() as cursor:
                checkpoint_text.into(cursor, found, means.run)
        finally:
            meanwhile.join()
        control.rows(_AT_HEAD, {"heads": list(found.heads), "found": _serving().NOTHING, "run": means.run})
    control.rows(_AS_AT_START)
    control.bound(means.settings)
    means.tell(checkpoint_text.line(found, time.monotonic() - begun))


def _get_ready(known: Manifest) -> None:
    """Import what comes after the load; what is wrong with it is found when it is used."""
    with contextlib.suppress(Exception):
        _serving().needed(known.contract)


def _serving() -> ModuleType:
    from lockstep.upgrade import serving  # noqa: PLC0415 - see _get_ready

    return serving


class _Transaction:
    """The driver's connection, in a transaction of the app's own search path, as the stages ask one of SQLAlchemy's.

    A signal cancels what runs in it, by a connection that is made for that; neither its end nor what comes after.
    """

    def __init__(self, means: Means) -> None:
        self.raw = self.connection = means.control.raw
        self.info: dict[str, Any] = {}
        self.dialect = SimpleNamespace(server_version_info=divmod(self.raw.server_version, 10000))
        self._means, self._mutex, self._is_over = means, threading.Lock(), False

    def __enter__(self) -> Self:
        self._means.interrupt.check()
        limit = f"SET LOCAL statement_timeout = {max(1, int(self._means.deadline.left() * 1000))}"
        path = f"SET LOCAL search_path TO DEFAULT; {LEDGER_OUT_FOR_THE_TRANSACTION}"
        self._means.control.rows(f"BEGIN; {limit}; {path}")
        self._means.interrupt.cancel = self._cancel
        return self

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        self._means.interrupt.cancel = lambda: None
        with self._mutex:
            self._is_over = True
        if raised is None:
            self._means.control.rows("COMMIT")
        elif not self.raw.closed:
            self._means.control.rows("ROLLBACK")

    def _cancel(self) -> None:
        control = self._means.control
        with self._mutex:
            if not self._is_over:
                with contextlib.closing(connect.open_connection(control.where, 1)) as other:
                    other.cursor().execute("SELECT pg_cancel_backend(%s)", (control.pid,))

    def in_transaction(self) -> bool:
        return True

    def exec_driver_sql(self, sql: str, parameters: dict[str, Any] | None = None) -> Any:
        cursor = self.raw.cursor()
        cursor.execute(sql, parameters or {})
        return SimpleNamespace(cursor=cursor)
