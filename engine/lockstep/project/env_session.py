"""Env session: set on the engine's own connection what env.py has set on its one.

What that is, is asked in plain SQL that holds only numbers and names of our own. So any driver can be asked,
synchronous or not, whatever its way of writing parameters.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.errors import Refused

if TYPE_CHECKING:
    import sqlalchemy as sa

# What says how a driver talks, and what the engine sets itself. A transaction's own end with the transaction.
_OF_OURS = (
    "'application_name', 'client_encoding', 'DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output', "
    "'standard_conforming_strings', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', "
    "'transaction_timeout', 'client_connection_check_interval', 'transaction_isolation', 'transaction_read_only', "
    "'transaction_deferrable', 'default_transaction_isolation', 'default_transaction_read_only', "
    "'default_transaction_deferrable', 'search_path', 'role', 'synchronous_commit', 'in_hot_standby'"
)
_SET = (
    "SELECT name, setting, unit FROM pg_catalog.pg_settings WHERE source IN ('session', 'client') "  # noqa: S608 - a list of names of our own
    f"AND name NOT IN ({_OF_OURS})"
)
_WHO = "SELECT current_setting('search_path'), current_user::text"
_HELD = (
    "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = {pid} "
    "AND classid = {high} AND objid = {low} "
    "AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
)
_MAY_GRANT = "SELECT count(*) > 0 FROM pg_namespace WHERE nspname = 'migrator' AND pg_has_role(nspowner, 'USAGE')"
_GRANT = (
    "GRANT USAGE ON SCHEMA migrator TO {role}; "
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA migrator TO {role}; "
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA migrator TO {role}"
)
ELSEWHERE = Refused(
    "env.py connects to another database than MIGRATOR_DATABASE_URL names",
    "let env.py take its URL from the configuration (sqlalchemy.url), or set MIGRATOR_DATABASE_URL to the same",
)


class Taken(NamedTuple):
    """What a session of env.py's has that the engine's is to have as well."""

    search_path: str
    user: str
    settings: tuple[tuple[str, str], ...]


def take(given: sa.Connection) -> Taken:
    """Return what env.py has set on its session."""
    search_path, user = given.exec_driver_sql(_WHO).one()
    found = given.exec_driver_sql(_SET).all()
    return Taken(search_path, user, tuple(sorted((name, f"{setting}{unit or ''}") for name, setting, unit in found)))


def end_transaction(given: sa.Connection, *, keep: bool) -> None:
    """End what env.py has begun on its connection, so that it stands in nobody's way.

    On the driver's connection: SQLAlchemy refuses more of a transaction that was ended inside its `with` block, and
    env.py may well go on with it.
    """
    raw: Any = given.connection
    if keep:
        raw.commit()
    else:
        raw.rollback()


def give(ours: sa.Connection, taken: Taken) -> None:
    """Set on our session what env.py has on its own; raise Refused for what this role may not."""
    (user,) = ours.exec_driver_sql("SELECT current_user::text").one()
    if user != taken.user:
        _become(ours, user, taken.user)
    texts = {"search_path": taken.search_path} | dict(taken.settings)
    calls = ", ".join(["set_config(%s, %s, false)"] * len(texts))
    try:
        ours.exec_driver_sql(f"SELECT {calls}", tuple(text for item in texts.items() for text in item))
    except Exception as error:
        ours.rollback()
        text = " ".join(str(getattr(error, "orig", error)).split())
        raise Refused(f"what env.py sets on its session cannot be set on ours: {text}", "see env.py") from error
    ours.commit()


def _become(ours: sa.Connection, user: str, wanted: str) -> None:
    """Do the work as the role that env.py works as: what is made belongs to it. It writes the ledger as well."""
    quoted = ours.dialect.identifier_preparer.quote(wanted)
    try:
        if ours.exec_driver_sql(_MAY_GRANT).scalar():
            ours.exec_driver_sql(_GRANT.format(role=quoted))
        ours.exec_driver_sql(f"SET ROLE {quoted}")
        ours.commit()
    except Exception as error:
        ours.rollback()
        raise Refused(
            f"env.py works as role {wanted}, MIGRATOR_DATABASE_URL signs in as {user}, which may not become it",
            f"sign in as {wanted} in both, or GRANT {wanted} TO {user}",
        ) from error


def require_same_database(given: sa.Connection, ours: sa.Connection) -> None:
    """Raise Refused unless both lead to one database of one server: a lock that one takes is seen by the other."""
    key = secrets.randbits(62)
    (_, pid) = ours.exec_driver_sql(f"SELECT pg_advisory_lock({key}), pg_backend_pid()").one()
    ours.commit()
    try:
        (seen,) = given.exec_driver_sql(_HELD.format(pid=pid, high=key >> 32, low=key & 0xFFFFFFFF)).one()
    finally:
        ours.exec_driver_sql(f"SELECT pg_advisory_unlock({key})")
        ours.commit()
    if not seen:
        raise Refused(ELSEWHERE.message, ELSEWHERE.cure)


def of_dialect(given: sa.Connection, ours: sa.Connection) -> sa.Connection:
    """Return our connection with what env.py has told SQLAlchemy of its own: default schema, and how schemas map."""
    ours.dialect.default_schema_name = given.dialect.default_schema_name
    for name in ("_json_serializer", "_json_deserializer"):
        if hasattr(given.dialect, name):
            setattr(ours.dialect, name, getattr(given.dialect, name))
    with contextlib.suppress(KeyError):
        return ours.execution_options(schema_translate_map=given.get_execution_options()["schema_translate_map"])
    return ours
