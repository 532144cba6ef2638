"""Connect: open connections to the database, with the limits that the runner sets.

The limits are set after connecting, by SET: a pooler may refuse startup options.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from lockstep.errors import Interrupted, MigratorError, Refused, Unreachable, Usage
from lockstep.postgres import pooler, tls
from lockstep.postgres.address import Address, address
from lockstep.postgres.connection import CONNECT_TIMEOUT_S, open_connection
from lockstep.postgres.control import Control
from lockstep.postgres.limits import LEDGER_OUT_OF_SEARCH_PATH, limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.settings import Settings
    from lockstep.stop.deadline import Deadline
    from lockstep.stop.interrupt import Interrupt

OLDEST_SERVER = 120000

# What the server or libpq says when waiting would not help (connection errors carry no SQLSTATE).
_FINAL = (
    (r"password authentication failed", "the password is not accepted", "check user and password in the URL"),
    (r"no password supplied", "the server wants a password", "put it in the URL"),
    (r"no pg_hba.conf entry|rejects connection", "the server lets nobody in from here this way",
     "check host, user and sslmode"),
    (r'database ".*" does not exist', "the database does not exist", "create it, or correct the name in the URL"),
    (r'role ".*" does not exist', "the role does not exist", "create it, or correct the user in the URL"),
    (r'role ".*" is not permitted to log in', "the role may not log in", "ALTER ROLE … LOGIN, or use another one"),
    (r"permission denied for database", "the role may not connect to the database", "GRANT CONNECT ON DATABASE … TO …"),
    (r"invalid (\w+) value|invalid value for parameter \"(\w+)\"|for connection option \"(\w+)\"",
     "the value of {} in the URL is not one that it can have", "see https://www.postgresql.org/docs/current/libpq-connect.html"),
    (r'unrecognized configuration parameter "([\w.]+)"', "the URL sets {}, which the server does not know",
     "check what follows options= in the URL"),
    (r"channel binding required, but SSL not in use",
     "channel binding is required, and the connection is not encrypted",
     "add sslmode=require to the URL, or take channel_binding away"),
    (r"channel binding (is )?required", "channel binding is required, and the server does not offer it",
     "let the server use scram-sha-256, or take channel_binding away from the URL"),
    (r"root certificate file|certificate verify failed|does not match host name",
     "the server's certificate is not trusted", "check MIGRATOR_TLS_CA, or sslmode and sslrootcert in the URL"),
    (r"server does not support SSL", "the server takes no encrypted connections, and one is required",
     "switch TLS on there, or take MIGRATOR_REQUIRE_TLS or sslmode away"),
)  # fmt: skip


def wait(
    where: Address, deadline: Deadline, interrupt: Interrupt, tell: Callable[[str], None]
) -> psycopg2.extensions.connection:
    """Connect once the database answers; raise Unreachable at the deadline, Usage where waiting would not help."""
    first = True
    pause = 0.1
    while True:
        interrupt.check()
        try:
            return open_connection(where, max(1.0, deadline.left()))
        except psycopg2.OperationalError as error:
            reason = _reason(error, where)
        if deadline.left() <= pause:
            raise Unreachable(
                f"{where.shown} does not answer: {reason}", "check that the database runs and can be reached from here"
            )
        if first:
            tell(f"waiting    for {where.shown}: {reason}")
            first = False
        interrupt.sleep(pause)
        pause = min(pause * 2, 1.0)


def _reason(error: psycopg2.OperationalError, where: Address) -> str:
    """Return a short reason for a failed try; raise Usage when another try cannot do better."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Is the server running")]
    text = said[-1] if said else "no reason given"
    for sign, message, cure in _FINAL:
        if found := re.search(sign, text):
            option = next(filter(None, found.groups()), "")
            raise Usage(f"{where.shown}: {message.format(option)}", cure) from None
    # libpq names host and port itself; never a password.
    return re.sub(r"^connection to server .* failed: |^.*FATAL: *", "", text)


def reach(settings: Settings, deadline: Deadline, interrupt: Interrupt, tell: Callable[[str], None]) -> Control:
    """Return the control connection, of which nothing was asked yet; refuse one that others may read."""
    where = address(settings.database_url, settings.url_source)
    tls.insist(where, settings)
    pooler.look_at(where)
    try:
        raw = wait(where, deadline.sooner(settings.wait_ms), interrupt, tell)
    except Interrupted as error:
        raise Interrupted(error.code - 128, "stopped while waiting for the database; nothing was changed") from None
    except Unreachable as error:
        error.cure = pooler.advice(where) or error.cure
        raise
    connection = Control(raw, where)
    try:
        _refuse_to_be_read(connection, settings, tell)
    except MigratorError:
        connection.close()
        raise
    return connection


def require_fit(connection: Control, settings: Settings) -> None:
    """Refuse a server that cannot be migrated, or a pooler that keeps no session; set the session's own limits."""
    if connection.server_version < OLDEST_SERVER:
        version = connection.server_version // 10000
        raise Refused(f"PostgreSQL {version} is too old", "the migrator works on 12 and newer")
    asked = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool"
    replica, read_only = connection.row(asked)
    if replica:
        raise Refused(f"{connection.where.shown} is a read-only replica", "give the URL of the primary")
    if read_only:
        raise Refused(f"{connection.where.shown} is set read-only", "unset default_transaction_read_only for this role")
    connection.bound(settings)
    pooler.verdict(connection, lambda: open_connection(connection.where, CONNECT_TIMEOUT_S))


def _refuse_to_be_read(connection: Control, settings: Settings, tell: Callable[[str], None]) -> None:
    """Where the settings ask for TLS refuse a connection that others on the network may read; else warn of it."""
    protection, is_worth_a_word = tls.verdict(connection.raw)
    if is_worth_a_word and settings.require_tls:
        raise Refused(
            f"the connection to {connection.where.shown} is {protection}",
            "write sslmode=verify-full into the URL (MIGRATOR_REQUIRE_TLS is on)",
        )
    if is_worth_a_word:
        tell(f"warning    the connection to {connection.where.shown} is {protection}; MIGRATOR_TLS_CA makes it safe")


def migrating_connection(where: Address, settings: Settings) -> psycopg2.extensions.connection:
    """Return a connection that carries the limits; raise Unreachable."""
    try:
        raw = open_connection(where, CONNECT_TIMEOUT_S)
    except psycopg2.OperationalError as error:
        raise Unreachable(
            f"{where.shown} does not answer: {_reason(error, where)}",
            "check that the database runs and can be reached from here",
        ) from None
    raw.autocommit = True  # a SET inside a transaction that rolls back would be undone
    with raw.cursor() as cursor:
        cursor.execute(limits(settings, raw.server_version) + LEDGER_OUT_OF_SEARCH_PATH)
    raw.autocommit = False
    return raw


def migrating_engine(where: Address, settings: Settings) -> object:
    """Return a SQLAlchemy engine whose connections carry the limits and end with their use."""
    import sqlalchemy as sa  # noqa: PLC0415 - a run with nothing to do never needs it

    tls.insist(where, settings)
    return sa.create_engine(
        "postgresql+psycopg2://", creator=lambda: migrating_connection(where, settings), poolclass=sa.pool.NullPool
    )
