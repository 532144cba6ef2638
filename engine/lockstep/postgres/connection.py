"""Connection: open one connection of the driver within a time; the watchdog can cut it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions

from lockstep.stop import watchdog

if TYPE_CHECKING:
    from lockstep.postgres.address import Address

CONNECT_TIMEOUT_S = 5
# A network that swallows packets is noticed within a minute: by keepalives, and by tcp_user_timeout for what was sent.
NETWORK = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}


def open_connection(where: Address, timeout_s: float) -> psycopg2.extensions.connection:
    """Open one connection, or raise psycopg2.OperationalError."""
    # Without gssencmode=disable libpq spends a round trip on asking for an encryption nobody here has.
    extra = {} if "gssencmode" in where.dsn else {"gssencmode": "disable"}
    connection = psycopg2.connect(
        where.dsn,
        connect_timeout=max(2, int(min(timeout_s, CONNECT_TIMEOUT_S))),  # libpq rounds 1 up to 2 anyway
        **NETWORK,
        **extra,
    )
    watchdog.note(connection)
    return connection
