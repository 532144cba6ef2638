"""Observation: what one statement was seen to do, as plain data between watching and judging."""

from __future__ import annotations

from dataclasses import dataclass, field

# https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES: what each mode keeps out.
READS_AND_WRITES = {"AccessExclusiveLock"}
WRITES = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock"}
STRENGTH = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
BACKFILL = "Backfill"  # a statement's kind, where a backfill was declared


@dataclass(frozen=True)
class Lock:
    """A lock held on a table; `standing` tables were there, and in use, before the pending revisions."""

    relation: str
    mode: str
    standing: bool

    @property
    def blocks_reads(self) -> bool:
        """Tell whether nobody may read the table."""
        return self.mode in READS_AND_WRITES

    @property
    def blocks_writes(self) -> bool:
        """Tell whether nobody may write to the table."""
        return self.mode in READS_AND_WRITES | WRITES

    @property
    def words(self) -> str:
        """Return the mode as PostgreSQL's documentation writes it."""
        spaced = "".join(f" {letter}" if letter.isupper() else letter for letter in self.mode.removesuffix("Lock"))
        return spaced.strip().upper()


@dataclass(frozen=True)
class Column:
    """A column as the catalog shows it."""

    table: str
    name: str
    type: str
    not_null: bool
    identity: str
    generated: str
    default: str | None


@dataclass(frozen=True)
class Constraint:
    """A constraint as the catalog shows it."""

    table: str
    name: str
    kind: str  # pg_constraint.contype
    valid: bool
    definition: str


@dataclass(frozen=True)
class Index:
    """An index as the catalog shows it."""

    table: str
    name: str
    unique: bool
    valid: bool
    definition: str


@dataclass(frozen=True)
class Changes:
    """How the catalog differs after a statement."""

    columns_added: tuple[Column, ...] = ()
    columns_dropped: tuple[Column, ...] = ()
    columns_altered: tuple[tuple[Column, Column], ...] = ()
    constraints_added: tuple[Constraint, ...] = ()
    constraints_dropped: tuple[Constraint, ...] = ()
    constraints_validated: tuple[Constraint, ...] = ()
    indexes_built: tuple[Index, ...] = ()
    indexes_rebuilt: tuple[Index, ...] = ()
    indexes_dropped: tuple[Index, ...] = ()
    tables_made: tuple[str, ...] = ()
    tables_dropped: tuple[str, ...] = ()
    partitions_made: tuple[tuple[str, str], ...] = ()  # partition, parent
    partitions_detached: tuple[tuple[str, str], ...] = ()
    rewritten: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """One statement of a revision and what the server did; times in milliseconds."""

    sql: str
    kind: str  # the grammar's name of it, '' where it has none
    line: int | None
    transaction: int  # which transaction of the revision; a statement outside of any has one of its own
    outside: bool
    began_ms: float
    duration_ms: float
    held: tuple[Lock, ...] = ()  # stronger than ACCESS SHARE, after the statement, those of earlier ones included
    taken: tuple[Lock, ...] = ()  # those of them that are this statement's
    changes: Changes = field(default_factory=Changes)
    rows_read: tuple[tuple[str, int], ...] = ()  # standing tables only
    rows_written: tuple[tuple[str, int], ...] = ()
    wal_bytes: int = 0
    size_bytes: int = 0
    notices: tuple[str, ...] = ()
    error: str | None = None
    sqlstate: str | None = None


@dataclass(frozen=True)
class Pass:
    """One run of a revision in one direction."""

    direction: str  # up | down | up again
    observations: tuple[Observation, ...]
    duration_ms: float
    error: str | None = None
    sqlstate: str | None = None
    error_kind: str | None = None  # the exception's class


@dataclass(frozen=True)
class Rehearsed:
    """One revision as it was rehearsed."""

    revision: str
    label: str
    message: str
    path: str
    source: str
    passes: tuple[Pass, ...]
    difference: tuple[str, ...] = ()  # lines of the schema that the downgrade did not put back
    again: tuple[str, ...] = ()  # lines that the second upgrade made otherwise than the first
    stopped: str | None = None  # why it could not be rehearsed to the end

    @property
    def up(self) -> Pass:
        """Return the first upgrade."""
        return self.passes[0]
