"""Engine: settings in, the one SQLAlchemy engine of this process out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event

if TYPE_CHECKING:
    from app.settings import Settings

CONNECT_TIMEOUT_S = 3


def make(settings: Settings) -> Engine:
    """Return an engine that has not connected yet: making one never fails for want of a database."""
    engine = create_engine(
        settings.database_url,
        pool_size=settings.pool_size,
        max_overflow=1,  # the watch's connection: it must not wait behind requests, nor they behind it
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # people's data stays out of logs
        connect_args={
            "application_name": f"app/{settings.commit[:12]}",
            "client_encoding": "utf8",
            "connect_timeout": CONNECT_TIMEOUT_S,
            # A network that swallows packets shows up in seconds, not in the hours TCP allows itself.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        },
    )
    statement_ms = int(settings.statement_timeout_s * 1000)

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: Any) -> None:
        # By SET, not by the `options` start-up parameter: poolers refuse the latter.
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET statement_timeout = {statement_ms}; SET idle_in_transaction_session_timeout = {2 * statement_ms}"
            )
        connection.commit()

    return engine
