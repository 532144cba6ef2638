"""Step cure: the error that a revision's statement met in, what to do about it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from lockstep.settings import Settings

NOTHING_KEPT = "nothing of it was kept"  # said only where it is so: see `apply`
_BY_STATE = {
    "42501": "run the migrator with the role that owns the table and may create in the schema (ALTER … OWNER TO, "
    "GRANT CREATE ON SCHEMA)",
    "3F000": "make the schema in an earlier revision, or have the platform make it; then run again",
    "55P04": "a new label of an enum cannot be used in the transaction that adds it: use it in a revision after that",
}


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
    return f"{_BY_STATE.get(state or '', 'correct the revision file, or the data it met')}; {NOTHING_KEPT}"
