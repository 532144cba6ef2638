"""Faults: an error of the database in, what kind it is for the one who asked out.

By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), never by an error's text.
"""

from __future__ import annotations

import enum

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError  # noqa: A004


class Fault(enum.Enum):
    """What went wrong, as far as the one who asked is concerned."""

    UNAVAILABLE = "the database cannot answer now; the same request may succeed later"
    DUPLICATE = "a unique constraint holds such a row already"
    DANGLING = "a foreign key points at nothing"
    REFUSED = "a rule of the schema refuses the row"
    UNSTORABLE = "a value does not fit its column"
    MISFIT = "the schema is not the one this release was built for"
    UNKNOWN = "anything else"


INSUFFICIENT_PRIVILEGE = "42501"
_BY_STATE = {
    "23505": Fault.DUPLICATE,
    "23503": Fault.DANGLING,
    "23514": Fault.REFUSED,  # check
    "23P01": Fault.REFUSED,  # exclusion
    "23502": Fault.MISFIT,  # NOT NULL where this release writes NULL or nothing
    "428C9": Fault.MISFIT,  # a column became GENERATED ALWAYS
    "42P01": Fault.MISFIT,  # no such table
    "42703": Fault.MISFIT,  # no such column
    INSUFFICIENT_PRIVILEGE: Fault.MISFIT,  # a right is gone
    "42804": Fault.MISFIT,  # another type
    "42883": Fault.MISFIT,  # no operator for another type
    "3F000": Fault.MISFIT,  # no such schema
    "25006": Fault.UNAVAILABLE,  # read-only: a failover is under way
    "40001": Fault.UNAVAILABLE,
    "40P01": Fault.UNAVAILABLE,  # deadlock
    "55P03": Fault.UNAVAILABLE,  # lock not available
}
_BY_CLASS = {
    "08": Fault.UNAVAILABLE,  # connection
    "53": Fault.UNAVAILABLE,  # resources, too many connections among them
    "57": Fault.UNAVAILABLE,  # statement timeout, shutdown
    "22": Fault.UNSTORABLE,
}


def kind(error: SQLAlchemyError) -> Fault:
    """Return what kind of fault `error` is."""
    if isinstance(error, TimeoutError):
        return Fault.UNAVAILABLE
    if not isinstance(error, DBAPIError):
        return Fault.UNKNOWN
    state = sqlstate(error)
    if state is None:
        lost = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
        return Fault.UNAVAILABLE if lost else Fault.UNKNOWN
    return _BY_STATE.get(state) or _BY_CLASS.get(state[:2], Fault.UNKNOWN)


def sqlstate(error: SQLAlchemyError) -> str | None:
    """Return PostgreSQL's code; None for the client library's own errors: refused, timed out, cut off."""
    return getattr(getattr(error, "orig", None), "pgcode", None)


def first_line(error: SQLAlchemyError) -> str:
    """Return the driver's own words for an operator; they name host and user at most, never a password."""
    words = str(getattr(error, "orig", None) or error).strip().splitlines()
    return words[0] if words else type(error).__name__
