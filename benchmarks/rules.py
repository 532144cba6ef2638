"""What a real server does with each statement, what the rehearsal finds, and what squawk says: `make bench-rules`.

Each statement runs on tables of 400 rows, on the server that is installed and on any other of Debian's. Nothing is
measured in time: locks, files and counts of rows are the same on every machine.
"""

# ruff: noqa: ANN001, ANN201 - a script

import contextlib
import dataclasses
import os
import sys
from collections import Counter
from pathlib import Path

import psycopg2
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from benchmarks.rules_statements import AFTER, STATEMENTS, TABLES
from lockstep.develop.rehearsal import findings, rows, second, snapshot
from lockstep.develop.rehearsal.observation import STRENGTH, Pass, Rehearsed
from lockstep.develop.rehearsal.observe import Observer
from lockstep.develop.sandbox import binaries, embedded
from lockstep.postgres.address import address
from lockstep.postgres.control import Control

ROWS = 400
TRIES = 8
# What an example of one direction cannot show.
LEFT_OUT = {"downgrade-differs", "downgrade-fails", "no-downgrade"}


@dataclasses.dataclass
class Step:
    """What the observer wraps in place of Alembic's step."""

    migration_fn: object


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of one statement on one server."""

    sql: str
    lock: str | None
    work: str
    stated: tuple
    dangerous: bool
    found: tuple
    squawk: tuple
    outside: bool

    @property
    def as_stated(self):
        # A lock outside of a transaction that is gone within a millisecond may not have been seen at all.
        return self.work == self.stated[1] and (self.lock == self.stated[0] or (self.outside and self.lock is None))


def servers():
    """Give the binaries to run on: those found first, and Debian's 15 where it is."""
    first = binaries.find()
    others = [path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin")) if path != first]
    return [first, *others][: int(os.environ.get("BENCH_SERVERS", "9"))]


@contextlib.contextmanager
def template(server):
    """Make the tables once and fill them; each statement gets a copy."""
    with contextlib.closing(psycopg2.connect(server.url())) as raw:
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute("CREATE DATABASE base")
            url = server.url("base")
            with contextlib.closing(psycopg2.connect(url)) as own, own.cursor() as made:
                made.execute(TABLES)
                own.commit()
                made.execute("SELECT oid::bigint FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 2200")
                filled = rows.fill(own, [oid for (oid,) in made.fetchall()], ROWS)
                made.execute(AFTER)
                own.commit()
            short = [one for one in filled if one.rows < ROWS]
            assert not short, short
            yield cursor, {one.table: one.rows for one in filled} | {"mv": ROWS}


def run(server, cursor, counts, statement):
    """Run a statement on a copy; return what was observed and found."""
    cursor.execute("CREATE DATABASE one TEMPLATE base")
    try:
        url = server.url("one")
        if statement.settings:
            with contextlib.closing(psycopg2.connect(url)) as raw, raw.cursor() as own:
                own.execute(statement.settings.replace("SET timezone", "ALTER DATABASE one SET timezone"))
                raw.commit()
        engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"), poolclass=sa.pool.NullPool)
        beside = Control(psycopg2.connect(url), address(url))
        try:
            observations = observe(engine, beside, statement)
        finally:
            beside.close()
    finally:
        cursor.execute("DROP DATABASE one WITH (FORCE)")
    done = Rehearsed("r", "r", "", "", "", (Pass("up", tuple(observations), 0.0),))
    found = tuple(one.rule for one in findings.judge(done, counts) if one.rule not in LEFT_OUT)
    return observations, found


def observe(engine, beside, statement):
    with beside.raw.cursor() as cursor:
        standing = snapshot.take(cursor).catalog.tables()
    observer = Observer(__file__, standing, beside)
    how = {"isolation_level": "AUTOCOMMIT"} if statement.outside else {}
    with engine.execution_options(**how).connect() as connection:
        context = MigrationContext.configure(connection)
        step = Step(lambda: [connection.exec_driver_sql(sql) for sql in statement.sql])
        with observer.on(context, step):
            step.migration_fn()
        connection.commit()
    return observer.observations


def locked(observations, table):
    """Return the strongest lock on a table."""
    modes = {lock.mode for seen in observations for lock in seen.held if lock.relation == table}
    return max(modes, key=STRENGTH.index, default=None)


def worked(observations, statement, counts):
    """Return what was done that grows with a table, as far as the server shows it."""
    rewritten = any(seen.changes.rewritten for seen in observations)
    built = any(
        item.table in (statement.table, "r1") for seen in observations
        for item in (*seen.changes.indexes_built, *seen.changes.indexes_rebuilt)
        if "USING INDEX" not in seen.sql and item.table in counts
    )  # fmt: skip
    ddl = [seen for seen in observations if seen.kind not in {"SelectStmt", "CreateTableAsStmt", "RefreshMatViewStmt"}]
    read = any(count > ROWS // 10 for seen in ddl for _, count in seen.rows_read if not data_alone(seen, observations))
    said = any("validating foreign key" in line for seen in observations for line in seen.notices)
    return "rewrite" if rewritten else "build" if built else "scan" if read or said else ""


def data_alone(seen, observations):
    """Tell whether rows were read by a change of rows with no lock of an earlier statement."""
    return seen.kind in {"UpdateStmt", "DeleteStmt"} and observations.index(seen) == 0


def bench(bin_dir):
    os.environ["PG_BIN"] = str(bin_dir)
    wanted = [one for one in STATEMENTS if int(binaries.version(bin_dir).partition(".")[0]) >= one.since]
    said = second.verdicts([("; ".join(one.sql), one.outside) for one in wanted])
    found, failed = [], []
    with embedded.throwaway() as server, template(server) as (cursor, counts):
        for statement, squawk in zip(wanted, said, strict=True):
            try:
                observations, rules = run(server, cursor, counts, statement)
                # Outside of a transaction the locks are looked at from beside: the shortest are seen by luck.
                tries = TRIES if statement.outside else 0
                while tries and locked(observations, statement.table) != statement.lock:
                    observations, rules = run(server, cursor, counts, statement)
                    tries -= 1
            except sa.exc.DBAPIError as error:
                failed.append(f"{statement.sql}: {error.orig}")
                continue
            lock, work = locked(observations, statement.table), worked(observations, statement, counts)
            shown = "; ".join(statement.sql) + (f" [{statement.settings}]" if statement.settings else "")
            stated = (statement.lock, statement.work)
            found.append(Row(shown, lock, work, stated, statement.dangerous, rules, squawk, statement.outside))
    if failed:
        sys.exit("\n".join(failed))
    return server.version, found


def score(lines, verdict):
    """Return how many dangerous ones were missed, and how many harmless ones were said to be dangerous."""
    missed = sum(1 for row in lines if row.dangerous and not verdict(row))
    return missed, sum(1 for row in lines if not row.dangerous and verdict(row))


def show(version, lines):
    print(f"\nPostgreSQL {version}\n")
    print(f"{'statement':<88} {'lock':<26} {'work':<8} {'rehearsal':<28} squawk")
    for row in lines:
        mark = "" if row.as_stated else f"   NOT AS STATED: {row.stated}"
        wrong = "!" if bool(row.found) != row.dangerous else " "
        print(f"{row.sql[:86]:<88} {row.lock or '-':<26} {row.work or '-':<8}"
              f"{wrong}{', '.join(row.found) or '-':<28} {', '.join(row.squawk) or '-'}{mark}")  # fmt: skip


def main():
    total = Counter()
    for bin_dir in servers():
        version, lines = bench(bin_dir)
        show(version, lines)
        missed, false = score(lines, lambda row: row.found)
        theirs = score(lines, lambda row: row.squawk)
        total.update(
            statements=len(lines), missed=missed, false=false, theirs_missed=theirs[0], theirs_false=theirs[1],
            otherwise=sum(not row.as_stated for row in lines),
        )  # fmt: skip
    squawk = f"squawk: missed {total['theirs_missed']}, false {total['theirs_false']}"
    print(f"\n{total['otherwise']} did otherwise than stated" if total["otherwise"] else "\nall did as stated")
    print("squawk's rules on style, timeouts and what old releases need are left out"
          if second.binary() else "squawk is not installed")  # fmt: skip
    print(f"statements {total['statements']}, missed {total['missed']}, false {total['false']}; {squawk}")
    return 1 if total["missed"] or total["false"] or total["otherwise"] else 0


if __name__ == "__main__":
    sys.exit(main())
