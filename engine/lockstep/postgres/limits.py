"""Limits: the SQL that bounds our sessions; the runner sets it, never the text of a revision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.settings import Settings

HAS_CONNECTION_CHECK, HAS_SESSION_TIMEOUT, HAS_TRANSACTION_TIMEOUT = 140000, 140000, 170000


def application_name(settings: Settings) -> str:
    """Return the name that the server shows a session of ours by."""
    return re.sub(r"[^\w.+/-]", "_", f"migrator/{settings.commit}"[:63], flags=re.ASCII)


def limits(settings: Settings, server_version: int, statement_timeout: str | None = None) -> str:
    """Return the SET statements that bound a session of ours, whatever its role's or database's defaults are.

    client_connection_check_interval (14 and newer) makes the backend of a killed migrator leave the lock
    queue; without it the app stays stalled behind it for as long as the blocker lives.
    """
    sets = {
        "application_name": application_name(settings),
        "lock_timeout": f"{settings.lock_timeout_ms}ms",
        "statement_timeout": statement_timeout or f"{settings.statement_timeout_ms}ms",
        "idle_in_transaction_session_timeout": f"{settings.idle_timeout_ms}ms",
    }
    if server_version >= HAS_CONNECTION_CHECK:
        sets["client_connection_check_interval"] = "1s"
    if server_version >= HAS_SESSION_TIMEOUT:
        sets["idle_session_timeout"] = "0"
    if server_version >= HAS_TRANSACTION_TIMEOUT:
        sets["transaction_timeout"] = "0"
    return " ".join(f"SET {key} = '{value}';" for key, value in sets.items())


# For a role named like the ledger's schema, "$user" would put the app's tables among the ledger's.
_LEDGER_OUT = """
SELECT set_config('search_path', coalesce(string_agg(part, ',' ORDER BY place), 'public'), {local})
  FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS p (part, place)
 WHERE CASE btrim(part, ' "') WHEN '$user' THEN current_user ELSE btrim(part, ' "') END <> 'migrator'"""
LEDGER_OUT_OF_SEARCH_PATH = _LEDGER_OUT.format(local="false")
LEDGER_OUT_FOR_THE_TRANSACTION = _LEDGER_OUT.format(local="true")
