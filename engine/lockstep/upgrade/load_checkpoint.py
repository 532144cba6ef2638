"""Load checkpoint: bring an empty database to head by a checkpoint alone, without Alembic.

This is possible where the checkpoint is of exactly the revisions that the manifest knows. Nothing is left to apply
then, so neither Alembic, nor SQLAlchemy, nor any revision file has to be loaded, and one connection is enough, which
holds the run lock as well. A checkpoint of fewer revisions is loaded within env.py: see `load_as_step`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lockstep.errors import MigratorError
from lockstep.ledger import tables
from lockstep.postgres import connect
from lockstep.postgres.limits import LEDGER_OUT_FOR_THE_TRANSACTION
from lockstep.project import checkpoint_file, manifest
from lockstep.upgrade import checkpoint_sql, exposure

if TYPE_CHECKING:
    from lockstep.ledger.run_context import Run
    from lockstep.project.checkpoint_file import Checkpoint
    from lockstep.project.manifest import Manifest
    from lockstep.upgrade.outcome import Outcome
    from lockstep.upgrade.request import Request

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
_NOBODY_KNOWN = "SELECT NOT EXISTS (SELECT FROM migrator.release) AND NOT EXISTS (SELECT FROM migrator.instance)"


class Whole(NamedTuple):
    """A checkpoint that is all there is to do on an empty database."""

    found: Checkpoint
    known: Manifest

    def still_fits(self, run: Run) -> bool:
        """Tell whether the database, under the run lock, is as empty as it was: another run may have been first."""
        control = run.control
        fits = (
            checkpoint_sql.is_empty(control.rows)[0]
            and control.row(checkpoint_sql.NEVER_STEPPED)[0]
            and control.row(_NOBODY_KNOWN)[0]
        )
        if not fits:
            control.rows(_FLUSH)
        return bool(fits)

    def job(self, run: Run, outcome: Outcome) -> LoadJob:
        """Return what does the stages of a run that loads it."""
        return LoadJob(run, self, outcome)


def instead_of_all(run: Run, known: Manifest) -> Whole | None:
    """Return the checkpoint where loading it is all there is to do; commits do not wait for the disk from here on."""
    settings, control = run.settings, run.control
    if settings.app_schema:  # a checkpoint is of the schema that everybody has
        return None
    found = _of_these(known, settings.checkpoint, settings.config)
    if found is None or tables.version(control):
        return None
    empty, *here = checkpoint_sql.is_empty(control.rows)
    if not empty or checkpoint_sql.unfit(found, *here) or exposure.watch(control, settings):
        return None
    control.rows(_NO_FLUSH)
    return Whole(found, known)


def _of_these(known: Manifest, given: str, config: str) -> Checkpoint | None:
    """Return the checkpoint if it is of exactly the manifest's revisions, and env.py does no more than hand over."""
    if not known.hands_over or not known.contract:
        return None
    try:
        path = checkpoint_file.path(given, manifest.at(config, known.directory))
        found = checkpoint_file.read(path) if path else None
    except MigratorError:  # for the whole line to say
        return None
    if found is None or found.heads != known.heads or manifest.digest_of(found.seals) != known.seals:
        return None
    return found


class LoadJob:
    """The stages of such a run; each imports what it alone needs."""

    def __init__(self, run: Run, whole: Whole, outcome: Outcome) -> None:
        """Take what the run works with, and the outcome that is kept up to date."""
        self.run, self.found, self.known, self.outcome = run, whole.found, whole.known, outcome

    def plan(self, request: Request) -> None:
        """Nothing is to be chosen: the checkpoint is of all there is."""

    def apply(self) -> None:
        """Load it in one transaction, and leave the session as it was."""
        from lockstep import contract  # noqa: PLC0415

        begun = time.monotonic()
        control, found = self.run.control, self.found
        with (
            checkpoint_sql.errors(self.run, found, lambda: bool(control.raw.closed)),
            _Transaction(self.run) as connection,
        ):
            with connection.raw.cursor() as cursor:
                checkpoint_sql.into(cursor, found, self.run.id)
            nothing = contract.Contract(()).to_json()
            control.rows(_AT_HEAD, {"heads": list(found.heads), "found": nothing, "run": self.run.id})
        control.rows(_AS_AT_START)
        control.bound(self.run.settings)
        self.outcome.heads_after, self.outcome.loaded = found.heads, tuple(found.seals)
        self.run.tell(checkpoint_sql.line(found, time.monotonic() - begun))

    def keep_rights(self) -> None:
        """Grant what the app's role lacks."""
        from lockstep.upgrade import grants  # noqa: PLC0415

        grants.keep(self.run)

    def verify(self) -> None:
        """Raise Refused unless the schema serves this release."""
        from lockstep import contract  # noqa: PLC0415
        from lockstep.upgrade import grants, verify  # noqa: PLC0415

        self._needed = contract.Contract.from_json(self.known.contract)
        with _Transaction(self.run) as connection:
            verify.serves(connection, self._needed, grants.present_role(self.run), None)

    def record(self) -> None:
        """Write down the release and how the database is left, on the disk."""
        from lockstep.ledger import fingerprint, releases  # noqa: PLC0415

        self.run.control.rows(_FLUSH)
        with _Transaction(self.run) as connection:
            releases.record(connection, self.known.models, self.run.settings.commit, self._needed)
        fingerprint.note(self.run.control, self.run.settings, self.known.heads, self.known.seals)


class _Transaction:
    """A transaction on the driver's connection, with as much of SQLAlchemy's interface as the stages ask of one.

    It has the app's own search path. A signal cancels what runs in it, on a connection made for that; it cancels
    neither the COMMIT nor what comes after.
    """

    def __init__(self, run: Run) -> None:
        self.raw = self.connection = run.control.raw
        self.info: dict[str, Any] = {}
        self.dialect = SimpleNamespace(server_version_info=divmod(self.raw.server_version, 10000))
        self._run, self._mutex, self._is_over = run, threading.Lock(), False

    def __enter__(self) -> Self:
        self._run.interrupt.check()
        limit = f"SET LOCAL statement_timeout = {max(1, int(self._run.deadline.left() * 1000))}"
        path = f"SET LOCAL search_path TO DEFAULT; {LEDGER_OUT_FOR_THE_TRANSACTION}"
        self._run.control.rows(f"BEGIN; {limit}; {path}")
        self._run.interrupt.cancel = self._cancel
        return self

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        self._run.interrupt.cancel = lambda: None
        with self._mutex:
            self._is_over = True
        if raised is None:
            self._run.control.rows("COMMIT")
        elif not self.raw.closed:
            self._run.control.rows("ROLLBACK")

    def _cancel(self) -> None:
        control = self._run.control
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
