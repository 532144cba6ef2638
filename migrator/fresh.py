"""Fresh: an empty database, a manifest and a checkpoint of the same revisions in, the database at head out.

What `upgrade` does with a checkpoint, in the same order and by the same stages, where nothing is left to apply: so
neither Alembic, nor SQLAlchemy, nor any revision file has to be loaded. Whatever is otherwise goes the whole way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from migrator import (
    answer,
    connect,
    contract,
    exposure,
    grants,
    holding,
    ledger,
    lock,
    manifest,
    releases,
    settings,
    state,
    verify,
)  # fmt: skip
from migrator.checkpoint import file, load
from migrator.errors import MigratorError
from migrator.outcome import Outcome
from migrator.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.checkpoint.file import Checkpoint
    from migrator.manifest import Manifest
    from migrator.means import Means

# As Alembic makes it.
_VERSION_TABLE = (
    "CREATE TABLE migrator.alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)); "
    "INSERT INTO migrator.alembic_version SELECT unnest(%s::text[])"
)
# What an app that never reported may need of an empty database, until a run is done: see guard.py.
_FOUND = "UPDATE migrator.run SET found = %s WHERE id = %s"


_OTHERWISE = -1  # no exit code


class _OtherThanThought(Exception):
    """The whole way has to look."""


def upgrade(known: Manifest, run_id: str, place: str) -> int | None:
    """Load the checkpoint and return the exit code; None, with nothing changed, where that is not all to be done."""
    report = Report(verb="upgrade")

    def work() -> int:
        try:
            found = _of_these(known, place)
            chosen = dataclasses.replace(settings.load(), run_id=run_id)
            with holding.connected(chosen, Report(quiet=True)) as means:
                return _upgrade(dataclasses.replace(means, tell=report.line), known, found, report)
        except _OtherThanThought:
            return _OTHERWISE

    code = answer.answered(report, work)
    return None if code == _OTHERWISE else code


def _of_these(known: Manifest, place: str) -> Checkpoint:
    """Return the checkpoint if it is of exactly the revisions that the manifest was seen to be of."""
    try:
        path = file.path(place, Path(manifest.HERE))
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
        needed = contract.Contract.from_json(known.contract)
        with holding.recorded(means, "upgrade", "migrator", outcome) as own:
            control.rows(_FOUND, (contract.Contract(()).to_json(), own.run))
            with _open(own) as connection:  # one for all of it: a checkpoint's settings end with its transaction
                _load(own, connection, found)
                outcome.heads_after, outcome.loaded = found.heads, tuple(found.seals)
                grants.keep(own)
                state.note(control, own.settings, found.heads, known.seals)
                verify.serves(connection, needed, grants.present_role(own), None)
                releases.record(connection, known.models, own.settings.commit, needed)
                connection.raw.commit()
    at = ", ".join(found.heads)
    return report.finish(
        0,
        "done",
        f"done: {len(found.seals)} loaded from the checkpoint, 0 applied, the database is at {at} (safe to run again)",
    )


def _load(means: Means, connection: _Plain, found: Checkpoint) -> None:
    begun = time.monotonic()
    with load.errors(means, found, lambda: bool(connection.raw.closed)):
        with connection.raw.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {max(1, int(means.deadline.left() * 1000))}")
            load.into(cursor, found, means.run)
            cursor.execute(_VERSION_TABLE, (list(found.heads),))
        connection.raw.commit()
    means.tell(load.line(found, time.monotonic() - begun))


class _Plain:
    """A driver's connection as the stages ask one of SQLAlchemy's."""

    def __init__(self, raw: Any) -> None:
        self.raw = self.connection = raw
        self.info: dict[str, Any] = {}
        self.dialect = SimpleNamespace(server_version_info=divmod(raw.server_version, 10000))

    def in_transaction(self) -> bool:
        return True  # the driver begins one with the first statement

    def exec_driver_sql(self, sql: str, parameters: dict[str, Any] | None = None) -> Any:
        cursor = self.raw.cursor()
        cursor.execute(sql, parameters or {})
        return SimpleNamespace(cursor=cursor)


@contextlib.contextmanager
def _open(means: Means) -> Iterator[_Plain]:
    """Open a connection with the run's limits, whose statement a signal cancels."""
    with contextlib.closing(connect.migrating_connection(means.control.where, means.settings)) as raw:
        pid = raw.get_backend_pid()
        means.interrupt.cancel = lambda: means.control.rows("SELECT pg_cancel_backend(%s)", (pid,))
        try:
            yield _Plain(raw)
        finally:
            means.interrupt.cancel = lambda: None
