"""Step: the work of one transaction, with its reverse and what a person should look at.

A revision file is one transaction, so whatever must not share a transaction is a step of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from alembic.autogenerate import render_op_text, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations import ops

from lockstep.backfill.declare import BackfillOp
from lockstep.develop.autogenerate import rendering
from lockstep.postgres.statements import unbound

Op = ops.MigrateOperation


class Phase(IntEnum):
    """Where in the chain of revisions a step belongs.

    What a live release may object to comes last: the migrator defers such a revision and all after it.
    """

    SCHEMA = 5
    LABEL = 10  # a new enum label cannot be used in the transaction that adds it
    TYPE = 15
    CREATE = 20
    CREATE_KEY = 25  # of tables that refer to each other
    DROP_FOREIGN_KEY = 30  # before the unique constraint it rests on
    ALTER = 40
    INDEX = 50
    CHECK = 60
    FOREIGN_KEY = 70  # after the unique constraint it rests on
    DROP_INDEX = 80  # after the index that replaces it
    TIGHTEN = 85
    DROP_COLUMN = 90
    DROP_TABLE = 95
    DROP_TYPE = 99


@dataclass(frozen=True)
class Step:
    """One revision to be: operations forth and back, and lines for the reviewer."""

    phase: Phase
    title: str
    up: tuple[Op, ...]
    down: tuple[Op, ...]
    review: tuple[str, ...] = ()
    group: str | None = None  # steps of one group share a transaction; None: alone
    joins_next: bool = False  # locks no table, so it may share the transaction of what follows

    def followed_by(self, other: "Step") -> "Step":
        """Both in one transaction."""
        title = other.title if self.joins_next else self.title
        return replace(
            other,
            phase=self.phase,
            title=title,
            up=self.up + other.up,
            down=other.down + self.down,
            review=self.review + other.review,
        )


def chain(steps: Sequence[Step]) -> list[Step]:
    """Put the steps in the order they are to run, and make those of one group that meet one."""
    ordered: list[Step] = []
    for step in sorted(steps, key=lambda step: step.phase):
        last = ordered[-1] if ordered else None
        if last and step.group and (last.joins_next or last.group == step.group):
            ordered[-1] = last.followed_by(step)
        else:
            ordered.append(step)
    return ordered


class AutocommitOp(ops.OpContainer):
    """Operations that PostgreSQL does not run inside a transaction."""


class WrittenOp(ops.OpContainer):
    """All operations of a revision's function, rendered with the percent signs that were meant.

    SQLAlchemy doubles them for drivers that format with them, psycopg2 among them, and Alembic writes the
    doubled ones into the file, to be doubled again: `age % 2` arrives as `age %% 2`.
    """


class DifferenceOp(Op):
    """Something that differs and that Alembic has no word for, as `alembic check` lists operations."""

    def __init__(self, what: str) -> None:
        self.what = what

    def to_diff_tuple(self) -> tuple[str, str]:
        """Itself, as `alembic check` lists operations."""
        return ("differs", self.what)


class NoteOp(Op):
    """A comment in the text of a revision."""

    def __init__(self, text: str) -> None:
        self.text = text

    def to_diff_tuple(self) -> tuple[str, str]:
        """Itself, as `alembic check` lists operations."""
        return ("note", self.text)


@renderers.dispatch_for(WrittenOp)
def _render_written(context: AutogenContext, op: WrittenOp) -> list[str]:
    with rendering.as_meant(context):
        return [line for each in op.ops for line in render_op(context, each)]


@renderers.dispatch_for(AutocommitOp)
def _render_autocommit(context: AutogenContext, op: AutocommitOp) -> list[str]:
    # the empty line is how Alembic's printer closes a block
    inner = [render_op_text(context, each) for each in op.ops]
    return ["with op.get_context().autocommit_block():", *inner, ""]


@renderers.dispatch_for(NoteOp)
def _render_note(_context: AutogenContext, op: NoteOp) -> list[str]:
    return [f"# {line}" for line in op.text.splitlines()]


@renderers.dispatch_for(BackfillOp)
def _render_backfill(_context: AutogenContext, op: BackfillOp) -> str:
    schema = f", schema={op.schema!r}" if op.schema else ""
    return f"op.backfill({op.table!r}{schema}, set={op.assignments!r}, where={op.where!r})"


def autocommit(*operations: Op) -> AutocommitOp:
    """Put the operations outside of a transaction, each committed as it is done."""
    return AutocommitOp(list(operations))


def execute(sql: str) -> ops.ExecuteSQLOp:
    """Run a statement as it stands: a colon in a name is no bind parameter."""
    return ops.ExecuteSQLOp(unbound(sql))


def run_all(statements: Sequence[str]) -> tuple[Op, ...]:
    """Run statements as they stand, in order."""
    return tuple(map(execute, statements))
