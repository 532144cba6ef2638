"""Observe: watch each statement of a revision as it runs, and write down what the server did for it.

The server is asked before and after each statement, on the revision's own connection and inside its transaction. A
statement outside of any transaction has given its locks back when it ends: there a second connection looks meanwhile.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg2

from lockstep.develop.rehearsal import snapshot, statement_kind
from lockstep.develop.rehearsal.observation import STRENGTH, Changes, Lock, Observation
from lockstep.postgres import statements
from lockstep.project import early_commit
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep.develop.rehearsal.snapshot import State
    from lockstep.postgres.control import Control

LONGEST_SQL = 4000
_DATA = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}


class Observer:
    """Watches one run of one revision; `observations` grows with each statement."""

    def __init__(self, path: str, standing: frozenset[int], beside: Control) -> None:
        """Take the revision's file, the tables that were there before, and a second connection."""
        self._path, self._standing, self._beside = path, standing, beside
        self.observations: list[Observation] = []
        self.touched: set[int] = set()
        self.ended_transaction: str | None = None
        self._early = early_commit.EarlyCommit()
        self._transaction = 0
        self._last: State | None = None  # what the statement before left, in the transaction that is open
        self._active = False
        self._began = 0.0

    @contextlib.contextmanager
    def on(self, context: Any, step: Any) -> Iterator[None]:
        """Observe what the step's own function runs on the context's connection while the block runs."""
        from sqlalchemy import event  # noqa: PLC0415

        engine = context.connection.engine
        listeners = (
            *self._listeners(context.dialect), ("commit", self._leave), ("rollback", self._leave),
            ("rollback_savepoint", lambda *_: self._forget()),
        )  # fmt: skip
        for name, listener in listeners:
            event.listen(engine, name, listener)
        migrate = step.migration_fn

        @functools.wraps(migrate)
        def observed(**arguments: Any) -> None:
            self._active, self._began = True, time.monotonic()
            raw = context.connection.connection.dbapi_connection
            try:
                with self._early.left_out(context.connection, lambda: self._active and not raw.autocommit):
                    migrate(**arguments)
            finally:
                self._active = False

        step.migration_fn = observed
        try:
            yield
        finally:
            step.migration_fn = migrate
            for name, listener in listeners:
                event.remove(engine, name, listener)

    def _listeners(self, dialect: Any) -> tuple[tuple[str, Callable[..., Any]], ...]:
        def one(cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
            return self._handle(cursor, sql, lambda: dialect.do_execute(cursor, sql, parameters, context))

        def many(cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
            return self._handle(cursor, sql, lambda: dialect.do_executemany(cursor, sql, parameters, context))

        def plain(cursor: Any, sql: str, context: Any) -> bool:
            return self._handle(cursor, sql, lambda: dialect.do_execute_no_params(cursor, sql, context))

        return ("do_execute", one), ("do_executemany", many), ("do_execute_no_params", plain)

    def _leave(self, _connection: Any) -> None:
        self._transaction += 1
        self._last = None

    def _forget(self) -> None:
        self._last = None

    def _handle(self, cursor: Any, sql: str, execute: Callable[[], None]) -> bool:
        if not self._active:
            return False
        entered, known = time.monotonic(), len(self.observations)
        try:
            self._observe(cursor, sql, execute)
        finally:  # the times are the revision's own, without what looking took
            ran = sum(seen.duration_ms for seen in self.observations[known:]) / 1000
            self._began += time.monotonic() - entered - ran
        return True

    def _observe(self, cursor: Any, sql: str, execute: Callable[[], None]) -> None:
        outside = bool(cursor.connection.autocommit)
        statement = statements.parse(sql)
        if early_commit.is_one(sql):
            self._early.asked = "" if outside else sql
            return
        if self._early.asked and not outside and not statement.reads:
            self.ended_transaction = self._early.asked
        if outside:
            self._early.asked = ""
        if statement.ends_transaction:
            self.ended_transaction = sql
        if outside and statement.transactional:
            self._alone(cursor, sql, execute)
        elif outside:
            self._outside(cursor, sql, execute)
        else:
            self._inside(cursor, sql, execute, outside=False)

    def _inside(self, cursor: Any, sql: str, execute: Callable[[], None], *, outside: bool) -> None:
        raw = cursor.connection
        with raw.cursor() as ours:
            before = self._last or snapshot.take(ours)
            ours.execute("SET LOCAL client_min_messages = debug1")
            del raw.notices[:]
            began = time.monotonic()
            try:
                execute()
            except BaseException as error:
                self._failed(sql, began, outside, error)
                raise
            took = time.monotonic() - began
            notices = tuple(raw.notices)
            light = statement_kind.of(sql) in _DATA
            after = snapshot.take(ours, before.catalog if light else None)
        self._last = after
        self._record(sql, began, took, outside, before, after, notices, after.locks, after.locks - before.locks)

    def _alone(self, cursor: Any, sql: str, execute: Callable[[], None]) -> None:
        """Give a statement of an autocommit block that may have one a transaction of its own, to see its locks."""
        self._leave(None)
        ours = cursor.connection.cursor()
        ours.execute("BEGIN")
        try:
            self._inside(cursor, sql, execute, outside=True)
            ours.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):  # the server has done it on a lost connection
                ours.execute("ROLLBACK")
            raise
        finally:
            self._leave(None)

    def _outside(self, cursor: Any, sql: str, execute: Callable[[], None]) -> None:
        self._leave(None)
        raw = cursor.connection
        with raw.cursor() as ours:
            before = snapshot.take(ours)
            ours.execute("SET client_min_messages = debug1")
            del raw.notices[:]
            began = time.monotonic()
            try:
                with self._sampled(raw.info.backend_pid) as found:
                    execute()
            except BaseException as error:
                self._failed(sql, began, True, error, self._left_behind(raw, before))
                raise
            took = time.monotonic() - began
            notices = tuple(raw.notices)
            ours.execute("RESET client_min_messages")
            after = snapshot.take(ours)
        self._record(sql, began, took, True, before, after, notices, frozenset(found), frozenset(found))
        self._leave(None)

    @contextlib.contextmanager
    def _sampled(self, pid: int) -> Iterator[set[tuple[int, str]]]:
        """Collect the locks of a session, from beside it, while the block runs."""
        found: set[tuple[int, str]] = set()
        over, ready = threading.Event(), threading.Event()

        def look() -> None:
            with contextlib.suppress(Exception), self._beside.raw.cursor() as cursor:
                while not over.is_set():  # without a pause: some are over within a millisecond
                    found.update(snapshot.locks_of(cursor, pid))
                    ready.set()
            ready.set()

        thread = threading.Thread(target=look, daemon=True, name="observe")
        thread.start()
        ready.wait()
        try:
            yield found
        finally:
            over.set()
            thread.join()

    def _record(
        self, sql: str, began: float, took: float, outside: bool, before: State, after: State,
        notices: tuple[str, ...], held: frozenset[tuple[int, str]], taken: frozenset[tuple[int, str]],
    ) -> None:  # fmt: skip
        catalogs = (before.catalog, after.catalog)  # a table that is renamed: clients know the name before
        self.touched |= {oid for oid, _ in held} & (before.catalog.tables() | after.catalog.tables())
        if before.catalog is not after.catalog:
            self.touched |= snapshot.reindexed(before.catalog, after.catalog)
        read = _grown(before, after, 0)
        self.observations.append(Observation(
            sql=sql[:LONGEST_SQL], kind=statement_kind.running(sql), line=self._line(),
            transaction=self._transaction, outside=outside,
            began_ms=(began - self._began) * 1000, duration_ms=took * 1000,
            held=_strongest(snapshot.locks(set(held), catalogs, self._standing)),
            taken=_strongest(snapshot.locks(set(taken), catalogs, self._standing)),
            changes=snapshot.changes(before.catalog, after.catalog, self._standing, set(read)),
            rows_read=self._named(read, catalogs), rows_written=self._named(_grown(before, after, 1), catalogs),
            wal_bytes=after.wal - before.wal, size_bytes=after.catalog.size - before.catalog.size,
            notices=tuple(" ".join(line.split()) for line in notices),
        ))  # fmt: skip

    def _left_behind(self, raw: Any, before: State) -> Changes:
        """Return what a statement that failed outside of a transaction has changed all the same."""
        try:
            with raw.cursor() as ours:
                after = snapshot.take(ours)
        except psycopg2.Error:
            return Changes()
        return snapshot.changes(before.catalog, after.catalog, self._standing, set())

    def _failed(
        self, sql: str, began: float, outside: bool, error: BaseException, changes: Changes | None = None
    ) -> None:
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        self.observations.append(Observation(
            sql=sql[:LONGEST_SQL], kind=statement_kind.running(sql), line=self._line(),
            transaction=self._transaction, outside=outside,
            began_ms=(began - self._began) * 1000, duration_ms=(time.monotonic() - began) * 1000,
            changes=changes or Changes(), error=said, sqlstate=sqlstate.of(error),
        ))  # fmt: skip

    def _named(self, counts: dict[int, int], catalogs: tuple[snapshot.Catalog, ...]) -> tuple[tuple[str, int], ...]:
        named = []
        for oid, count in sorted(counts.items()):
            catalog = next((one for one in catalogs if oid in one.relations), None)
            if catalog and oid in self._standing:
                named.append((catalog.name(oid), count))
        return tuple(named)

    def _line(self) -> int | None:
        """Return the line of the revision's file that is being run."""
        frame: Any = sys._getframe()  # noqa: SLF001
        while frame is not None:
            if frame.f_code.co_filename == self._path:
                return int(frame.f_lineno)
            frame = frame.f_back
        return None


def _grown(before: State, after: State, place: int) -> dict[int, int]:
    """Return by how much a count of each table grew."""
    nothing = (0, 0, 0)
    grown = {oid: row[place] - before.counts.get(oid, nothing)[place] for oid, row in after.counts.items()}
    return {oid: count for oid, count in grown.items() if count > 0}


def _strongest(locks: tuple[Lock, ...]) -> tuple[Lock, ...]:
    """Return the strongest lock of each table."""
    best: dict[str, Lock] = {}
    for lock in locks:
        known = best.get(lock.relation)
        if known is None or STRENGTH.index(lock.mode) > STRENGTH.index(known.mode):
            best[lock.relation] = lock
    return tuple(best.values())
