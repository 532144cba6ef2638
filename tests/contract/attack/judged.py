"""Judged: a revision on a copy of the attacked database, in one transaction, with what the guard says before it commits."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psycopg2
import sqlalchemy as sa

from lockstep import contract
from lockstep.contract.footprint import reading
from lockstep.ledger import runs, tables
from lockstep.ledger.run_context import Run
from lockstep.postgres.control import Control
from lockstep.project.plan import Step
from lockstep.upgrade import grants
from lockstep.upgrade.guard import Deferred, Guard
from lockstep_gate.contract import derive
from tests.contract.attack import database, models
from tests.contract.attack.revisions import CLEAN, DEFERRED, SAID

DIGEST = "sha256:attacked"


class Verdict(NamedTuple):
    """What was said of a revision: `word` is one of the table's, `needs` are all findings, `told` the operator's lines."""

    word: str
    needs: tuple
    told: tuple[str, ...]

    @property
    def rules(self) -> set[str]:
        return {need.rule for need in self.needs}

    def __str__(self) -> str:
        return "\n".join([self.word, *(f"  {need.severity} {need.rule}: {need}" for need in self.needs)])


def record(url: str) -> None:
    """Write to the ledger of a database that the release lives there, and what it needs."""
    needed = contract.Contract.from_json(derive(models.Base.metadata).to_json())
    with control(url) as session:
        tables.prepare(session)
        run = runs.start(session, "upgrade", "migrator", "abc")
        runs.finish(session, run, "done", heads=((), ()))
        session.rows(
            "INSERT INTO migrator.release (digest, commit, contract) VALUES (%s, 'abc', %s)", (DIGEST, needed.to_json())
        )
        session.rows(
            "INSERT INTO migrator.instance (id, release, commit, host, role, driver) "
            "VALUES (gen_random_uuid(), %s, 'abc', 'here', %s, 'psycopg2')",
            (DIGEST, database.ROLE),
        )
        session.rows(f"GRANT USAGE ON SCHEMA migrator TO {database.ROLE}")


@contextlib.contextmanager
def control(url: str):
    raw = psycopg2.connect(url)
    try:
        yield Control(raw, None)
    finally:
        raw.close()


def run_context(session, told: list[str]) -> Run:
    settings = SimpleNamespace(retention_ms=86_400_000, app_role=database.ROLE)
    run = session.row("INSERT INTO migrator.run (verb, road) VALUES ('upgrade', 'migrator') RETURNING id")[0]
    return Run(session, settings, None, None, told.append, run)


def text(sql: str, url: str) -> str:
    name = sa.make_url(url).database
    return sql.replace("@APP@", database.ROLE).replace("@WORKER@", database.WORKER).replace("@DB@", name)


def _require_the_same(watch, connection) -> None:
    """What was read again must be what reading everything gives."""
    if watch._after is not None:
        with watch._printed(connection):
            whole = reading.everything(connection, tuple(watch._roles))
        assert watch._after.changes(whole) == () or _moves(watch._after.changes(whole))


def _moves(changes) -> bool:
    return all(change.kind == "sequence" for change in changes)


@contextlib.contextmanager
def judged(
    url: str,
    *revisions: str,
    strict: bool = False,
    app_role: str | None = database.ROLE,
    keep: bool = False,
    between=None,
    granted: bool = False,
):
    """Apply each text as a revision and yield the verdict of the last; `keep`: commit it, whatever was said of it."""
    told: list[str] = []
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
    with control(url) as session, engine.connect() as connection:
        run = run_context(session, told)
        put_back = functools.partial(grants.put_back, run) if granted else None
        guard = Guard(run, app_role, unknown=False, strict=strict, ignored=False, put_back=put_back)
        guard.look(connection)
        for number, sql in enumerate(revisions):
            step = Step(f"r{number}", sql, "up", Path(f"r{number}_x.py"), "", None)
            database.run(connection, text(sql, url))
            if between:
                between()
            said = len(guard.unknown)
            try:
                guard.check(connection, step)
            except Deferred as deferred:
                needs = tuple(need for objection in deferred.objections for need in objection.needs)
                verdict = Verdict(DEFERRED, needs, tuple(told))
            else:
                needs = tuple(one.need for one in guard.unknown[said:])
                verdict = Verdict(SAID if needs else CLEAN, needs, tuple(told))
            _require_the_same(guard._footprint, connection)
            if keep or number < len(revisions) - 1:
                connection.commit()
        yield verdict
        connection.rollback()
    engine.dispose()
