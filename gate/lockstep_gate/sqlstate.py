"""SQLSTATE: PostgreSQL's codes by name, and how to read one off an error of any driver.

https://www.postgresql.org/docs/current/errcodes-appendix.html. Never by an error's text, which is translated.
"""

from __future__ import annotations

ACTIVE_TRANSACTION = "25001"
READ_ONLY_TRANSACTION = "25006"
NOT_NULL_VIOLATION = "23502"
FOREIGN_KEY_VIOLATION = "23503"
UNIQUE_VIOLATION = "23505"
CHECK_VIOLATION = "23514"
EXCLUSION_VIOLATION = "23P01"
GENERATED_ALWAYS = "428C9"
INVALID_SCHEMA_NAME = "3F000"
SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
DEPENDENT_OBJECTS = "2BP01"
INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_COLUMN = "42703"
UNDEFINED_OBJECT = "42704"
UNDEFINED_TABLE = "42P01"
UNDEFINED_FUNCTION = "42883"
DATATYPE_MISMATCH = "42804"
DUPLICATE_COLUMN = "42701"
DUPLICATE_OBJECT = "42710"
DUPLICATE_SCHEMA = "42P06"
DUPLICATE_TABLE = "42P07"
LOCK_NOT_AVAILABLE = "55P03"
UNSAFE_NEW_ENUM_VALUE = "55P04"
QUERY_CANCELED = "57014"


def of(error: BaseException | None) -> str | None:
    """Return PostgreSQL's code of a driver's error, bare or wrapped by SQLAlchemy.

    None for the client library's own errors: refused, timed out, cut off.
    """
    error = getattr(error, "orig", None) or error
    for name in ("sqlstate", "pgcode"):  # psycopg and asyncpg; psycopg2
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return code
    said = error.args[0] if error is not None and error.args else None
    code = said.get("C") if isinstance(said, dict) else None  # pg8000
    return code if isinstance(code, str) else None
