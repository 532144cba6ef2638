"""Step cure: what to do about the error that a revision's statement met with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from lockstep.settings import Settings

NOTHING_KEPT = "nothing of it was kept"  # said only where it is so: see `apply`
_OWNER = (
    "run the migrator with the role that owns the table and may create in the schema (ALTER … OWNER TO, "
    "GRANT CREATE ON SCHEMA)"
)
_EXTENSION = "have the platform or a superuser make the extension first, and write CREATE EXTENSION IF NOT EXISTS here"
_ROWS = "bring the rows that it met into order first, in a revision before it or by hand"
_THERE = "somebody made it outside of these revisions: take that away, or leave it out here if it is the same"
_FILE, _FILE_OR_DATA = "correct the revision file", "correct the revision file, or the data it met"
_BY_STATE = {
    sqlstate.INSUFFICIENT_PRIVILEGE: _OWNER,
    sqlstate.INVALID_SCHEMA_NAME: "make the schema in an earlier revision, or have the platform make it; "
    "then run again",
    sqlstate.UNSAFE_NEW_ENUM_VALUE: "a new label of an enum cannot be used in the transaction that adds it: "
    "use it in a revision after that",
    sqlstate.DEPENDENT_OBJECTS: "change or drop first what depends on it, in the same revision",
    **dict.fromkeys(
        (sqlstate.NOT_NULL_VIOLATION, sqlstate.FOREIGN_KEY_VIOLATION, sqlstate.UNIQUE_VIOLATION,
         sqlstate.CHECK_VIOLATION, sqlstate.EXCLUSION_VIOLATION), _ROWS),
    **dict.fromkeys(
        (sqlstate.DUPLICATE_COLUMN, sqlstate.DUPLICATE_OBJECT, sqlstate.DUPLICATE_SCHEMA, sqlstate.DUPLICATE_TABLE),
        _THERE),
}  # fmt: skip


def of(error: BaseException, settings: Settings) -> str:
    """Return what to do about it, as if nothing of the revision had stayed."""
    state = sqlstate.of(error)
    if state == sqlstate.QUERY_CANCELED and "user request" in str(getattr(error, "orig", error)):
        return "somebody cancelled it; it is safe to run again"
    if state == sqlstate.QUERY_CANCELED:
        return (f"it ran longer than --statement-timeout ({settings.statement_timeout_ms} ms): "
                "do the work in smaller steps, or raise it")  # fmt: skip
    if state == sqlstate.ACTIVE_TRANSACTION:
        return "put it inside `with op.get_context().autocommit_block():`"
    return f"{_cure(state, str(getattr(error, 'statement', None) or ''))}; {NOTHING_KEPT}"


def _cure(state: str | None, statement: str) -> str:
    if state is None:  # the revision's own Python
        return _FILE
    if statement.split()[:2] == ["CREATE", "EXTENSION"]:
        return _EXTENSION
    return _BY_STATE.get(state, _FILE_OR_DATA)
