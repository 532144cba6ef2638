"""Faults: an error of the database, sorted by what it means to the one who asked."""

from __future__ import annotations

import enum

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError  # noqa: A004

from lockstep_gate import sqlstate
from lockstep_gate.masking import masked


class Fault(enum.Enum):
    """What went wrong, as far as the one who asked is concerned."""

    UNAVAILABLE = "the database cannot answer now; the same request may succeed later"
    DUPLICATE = "a unique constraint holds such a row already"
    DANGLING = "a foreign key points at nothing"
    REFUSED = "a rule of the schema refuses the row"
    UNSTORABLE = "a value does not fit its column"
    MISFIT = "the schema is not the one this release was built for"
    UNKNOWN = "anything else"


_BY_STATE = {
    sqlstate.UNIQUE_VIOLATION: Fault.DUPLICATE,
    sqlstate.FOREIGN_KEY_VIOLATION: Fault.DANGLING,
    sqlstate.CHECK_VIOLATION: Fault.REFUSED,
    sqlstate.EXCLUSION_VIOLATION: Fault.REFUSED,
    sqlstate.NOT_NULL_VIOLATION: Fault.MISFIT,  # this release writes NULL or nothing there
    sqlstate.GENERATED_ALWAYS: Fault.MISFIT,  # a column became one
    sqlstate.UNDEFINED_TABLE: Fault.MISFIT,
    sqlstate.UNDEFINED_COLUMN: Fault.MISFIT,
    sqlstate.INSUFFICIENT_PRIVILEGE: Fault.MISFIT,  # a right is gone
    sqlstate.DATATYPE_MISMATCH: Fault.MISFIT,
    sqlstate.UNDEFINED_FUNCTION: Fault.MISFIT,  # no operator for another type
    sqlstate.INVALID_SCHEMA_NAME: Fault.MISFIT,
    sqlstate.READ_ONLY_TRANSACTION: Fault.UNAVAILABLE,  # a failover is under way
    sqlstate.SERIALIZATION_FAILURE: Fault.UNAVAILABLE,
    sqlstate.DEADLOCK_DETECTED: Fault.UNAVAILABLE,
    sqlstate.LOCK_NOT_AVAILABLE: Fault.UNAVAILABLE,
}
_BY_CLASS = {
    "08": Fault.UNAVAILABLE,  # connection
    "53": Fault.UNAVAILABLE,  # resources, too many connections among them
    "57": Fault.UNAVAILABLE,  # statement timeout, shutdown
    "22": Fault.UNSTORABLE,
}


def kind(error: Exception) -> Fault:
    """Return what kind of fault `error` is."""
    # asyncpg's errors of a connection that cannot be made reach us as they are.
    if isinstance(error, (TimeoutError, OSError)):
        return Fault.UNAVAILABLE
    state = sqlstate.of(error)
    if state is not None:
        return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], Fault.UNKNOWN)
    if not isinstance(error, DBAPIError):
        return Fault.UNKNOWN
    lost = error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return Fault.UNAVAILABLE if lost else Fault.UNKNOWN


def first_line(error: BaseException) -> str:
    """Return the driver's own words for an operator, in one line."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = cause.args[0] if cause is not None and cause.args and isinstance(cause.args[0], dict) else None
    words = str(said.get("M") if said else cause or error).strip().splitlines()  # pg8000's errors are a dict
    return masked(words[0]) if words else type(error).__name__


def is_of_database(error: Exception) -> bool:
    """Tell whether the database, its driver or the way to it failed, and not a program of ours."""
    return isinstance(error, (SQLAlchemyError, OSError)) or sqlstate.of(error) is not None
