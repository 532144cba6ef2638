"""Kinds: what a run may have to do, each as a database before it, the revisions that are pending, and the settings."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.ledger import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.migrator.rig import Project

ROWS = 300
TABLE = (
    "CREATE TABLE t (id bigint PRIMARY KEY, name text NOT NULL, n int NOT NULL DEFAULT 0, old text)",
    f"INSERT INTO t SELECT g, 'name ' || g, g % 7, 'old' FROM generate_series(1, {ROWS}) g",
    "CREATE TYPE mood AS ENUM ('calm')",
    "CREATE INDEX ix_t_old ON t (old)",
)
MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): pass
class T(Base):
    __tablename__ = "t"
    id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    name = sa.Column(sa.Text, nullable=False)
"""
OLD = "    old = sa.Column(sa.Text)\n"


@dataclass(frozen=True)
class Kind:
    """One kind of run. `own`: the product's own revisions; `first`: no revision was applied before it."""

    name: str
    pending: Callable[[Project], None]
    base: Callable[[Project], None] = lambda project: project.sql("a1", *TABLE)
    prepare: tuple[str, ...] = ()
    first: bool = False
    own: bool = False
    role: bool = False
    argv: tuple[str, ...] = ("upgrade",)
    then: tuple[str, ...] = ()  # what finishes what a second run leaves to it


def _models(project, *, old):
    (project.directory / "models.py").write_text(MODELS + (OLD if old else ""))
    if "models" not in project.ini.read_text():
        project.ini.write_text(project.ini.read_text() + "models = %(here)s/models.py\n")


def _nothing(_project):
    pass


def _several(project):
    project.sql(
        "b2",
        "CREATE TABLE u (id int PRIMARY KEY, t bigint REFERENCES t)",
        "INSERT INTO u SELECT id, id FROM t",
        "UPDATE t SET n = n + 1",
        "CREATE INDEX ix_u_t ON u (t)",
    )
    project.sql("c3", "ALTER TABLE u ADD CONSTRAINT ck CHECK (id > 0) NOT VALID", "UPDATE t SET n = n * 2")
    project.sql("d4", "ALTER TABLE u VALIDATE CONSTRAINT ck")


def _block(project):
    project.outside(
        "b2",
        "UPDATE t SET n = n * 3",
        "VACUUM t",
        "ALTER TYPE mood ADD VALUE 'wild'",
        "CREATE INDEX CONCURRENTLY ix_t_extra ON t (extra)",
        "INSERT INTO t SELECT max(id) + 1, 'one more', 0, 'old' FROM t",
        before=("ALTER TABLE t ADD COLUMN extra text",),
        after_block=("UPDATE t SET n = n + 5",),
    )
    project.sql("c3", "UPDATE t SET n = n + 1")


def _live(project):
    _models(project, old=True)
    project.sql("a1", *TABLE)


def _drop(project):
    _models(project, old=False)
    project.sql("b2", "ALTER TABLE t ADD COLUMN extra text", "UPDATE t SET n = n + 1")
    project.sql("c3", "ALTER TABLE t DROP COLUMN old")
    project.sql("d4", "UPDATE t SET n = n * 2")


REPORTS = (
    """INSERT INTO migrator.instance (id, release, commit, host)
       SELECT '00000000-0000-4000-8000-000000000001', digest, 'abc', 'web' FROM migrator.release""",
)
GONE = (
    *REPORTS,
    "UPDATE migrator.instance SET ended = now(), seen = now() - interval '1 day', started = now() - interval '2 days'",
    "UPDATE migrator.release SET recorded = now() - interval '3 days'",
)
DROP_LATER_TABLES = """DO $$ DECLARE one regclass; BEGIN
  FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'migrator'::regnamespace AND relkind = 'r'
   AND relname NOT IN ('ledger', 'run', 'step', 'release', 'instance', 'deferred', 'alembic_version')
  LOOP EXECUTE format('DROP TABLE %s CASCADE', one); END LOOP; END $$"""
EARLIER_LEDGER = (
    DROP_LATER_TABLES,
    "ALTER TABLE migrator.run DROP COLUMN run_id, DROP COLUMN found",
    "ALTER TABLE migrator.instance DROP COLUMN role, DROP COLUMN driver, DROP COLUMN schemas",
    f"DELETE FROM migrator.ledger WHERE version BETWEEN 2 AND {len(tables.UPGRADES)}",
)
ADOPTED = (
    *TABLE,
    "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('a1')",
)


def _adopted(project):
    project.sql("a1", *TABLE)
    project.sql("b2", "ALTER TABLE t ADD COLUMN extra text")


def _index(project):
    project.outside("b2", "CREATE INDEX CONCURRENTLY ix_t_name ON t (name)")
    project.outside("c3", "DROP INDEX CONCURRENTLY ix_t_old", "CREATE UNIQUE INDEX CONCURRENTLY uq_t ON t (name, id)")
    project.outside("d4", "REINDEX INDEX CONCURRENTLY ix_t_name")


def _first(project):
    project.sql("a1", *TABLE)
    project.sql("b2", "ALTER TABLE t ADD COLUMN extra text", "UPDATE t SET n = n + 1")


def _backfill(project):
    # So few rows that they are one batch: how many there are of them is a matter of time.
    project.revision("b2", """op.backfill("few", set={"x": "'new ' || id"}, where="x = 'old'")""")
    project.sql("c3", "UPDATE t SET n = n + 1", "ALTER TABLE few ADD COLUMN extra text")


FEW = (
    *TABLE,
    "CREATE TABLE few (id int PRIMARY KEY, x text)",
    "INSERT INTO few SELECT g, 'old' FROM generate_series(1, 60) g",
)


def _three(project):
    project.sql("a1", *TABLE)
    project.sql("b2", "ALTER TABLE t ADD COLUMN extra text", down=("ALTER TABLE t DROP COLUMN extra",))
    project.sql("c3", "UPDATE t SET n = n + 1", down=("UPDATE t SET n = n - 1",))
    project.revision(
        "d4",
        "with op.get_context().autocommit_block():\n    op.execute('CREATE INDEX CONCURRENTLY ix_t_name ON t (name)')",
        "with op.get_context().autocommit_block():\n    op.execute('DROP INDEX CONCURRENTLY ix_t_name')",
    )


def _checkpoint(project):
    project.sql("a1", *TABLE)
    project.sql("b2", "ALTER TABLE t ADD COLUMN extra text", "UPDATE t SET n = n + 1")
    root = Path(__file__).resolve().parents[2]
    given = {"PATH": os.environ["PATH"], "MIGRATOR_CONFIG": str(project.ini), "PYTHONPATH": str(root)}
    given |= {name: os.environ[name] for name in ("PG_BIN",) if name in os.environ}
    argv = [sys.executable, "-m", "migrator", "checkpoint"]
    done = subprocess.run(argv, cwd=root, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    project.sql("c3", "UPDATE t SET n = n * 2")


KINDS = tuple(
    Kind(*positional, **named)
    for positional, named in (
        (("transactional", lambda project: project.sql("b2", "ALTER TABLE t ADD COLUMN extra text")), {}),
        (("several statements", _several), {}),
        (("autocommit block", _block), {}),
        (("concurrent index", _index), {}),
        (("deferred", _drop), {"base": _live, "prepare": REPORTS}),
        (("deferred before", _drop), {"base": _live, "prepare": GONE}),
        (("adoption", _adopted), {"base": _nothing, "prepare": ADOPTED, "first": True}),
        (("grants", lambda project: project.sql("b2", "CREATE TABLE u (id int)")), {"role": True}),
        (("first run", _first), {"base": _nothing, "first": True}),
        (("ledger upgrade", lambda project: project.sql("b2", "UPDATE t SET n = n + 1")), {"prepare": EARLIER_LEDGER}),
        (("backfill", _backfill), {"base": lambda project: project.sql("a1", *FEW), "then": ("backfill",)}),
        (("downgrade", _nothing), {"base": _three, "argv": ("downgrade", "a1")}),
        (("checkpoint load", _checkpoint), {"base": _nothing, "first": True}),
        (("own history", _nothing), {"base": _nothing, "first": True, "own": True}),
        (("nothing to do", _nothing), {"base": _nothing, "own": True}),
    )
)
