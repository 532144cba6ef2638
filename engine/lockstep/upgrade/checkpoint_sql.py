"""Checkpoint SQL: load a checkpoint's schema, rows and ledger entries, in a transaction that the caller has begun."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from lockstep.errors import MigratorError, Refused, StepFailed, Usage
from lockstep.postgres.control import lost
from lockstep.project.checkpoint_file import ANEW
from lockstep.report import step_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lockstep.ledger.run_context import Run
    from lockstep.project.checkpoint_file import Checkpoint

DIRECTION = "adopt"  # what the ledger knows of an older day: in the schema, and not by a step of this run
USUAL_PATH = '"$user", public'
_IN_SCHEMAS = {
    "pg_class": "relnamespace", "pg_type": "typnamespace", "pg_proc": "pronamespace", "pg_operator": "oprnamespace",
    "pg_collation": "collnamespace", "pg_conversion": "connamespace", "pg_opclass": "opcnamespace",
    "pg_opfamily": "opfnamespace", "pg_ts_config": "cfgnamespace", "pg_ts_dict": "dictnamespace",
    "pg_ts_parser": "prsnamespace", "pg_ts_template": "tmplnamespace", "pg_statistic_ext": "stxnamespace",
}  # fmt: skip
_OTHERS = (
    "pg_extension", "pg_cast", "pg_language", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_publication",
    "pg_event_trigger", "pg_default_acl", "pg_am", "pg_largeobject_metadata", "pg_transform",
)  # fmt: skip

# A database as CREATE DATABASE leaves it, but for the ledger. Default rights make it another: what revisions make there
# gets rights that a replay on a server of its own could not know of. 16384 is the first oid after initdb's own.
_IS_EMPTY = (
    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname <> 'migrator' "  # noqa: S608 - our own names
    "AND nspname !~ '^pg_(toast_)?temp_')"
    + "".join(
        f" AND NOT EXISTS (SELECT FROM pg_catalog.{name} o WHERE o.oid >= 16384 AND o.{place} NOT IN (SELECT n.oid "  # noqa: S608 - our own names
        "FROM pg_catalog.pg_namespace n WHERE n.nspname = 'migrator' OR n.nspname ~ '^pg_(toast|temp)'))"
        for name, place in _IN_SCHEMAS.items()
    )
    + "".join(f" AND NOT EXISTS (SELECT FROM pg_catalog.{name} WHERE oid >= 16384)" for name in _OTHERS)
    + ", current_setting('server_version_num')::int / 10000, "
    "(SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database "
    "WHERE datname = current_database()), (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path')"
)
_STAYS = "; what it did before that may stay"
NEVER_STEPPED = "SELECT to_regclass('migrator.step') IS NULL OR NOT EXISTS (SELECT FROM migrator.step)"
_STEPS = f"""
INSERT INTO migrator.step (run, revision, direction, state, seal, message, started, finished)
SELECT %(run)s, r, '{DIRECTION}', 'finished', s, %(message)s, now(), clock_timestamp()
  FROM unnest(%(revisions)s::text[], %(seals)s::text[]) WITH ORDINALITY AS u (r, s, place) ORDER BY place"""  # noqa: S608 - quoted names, and texts of our own


def is_empty(rows: Callable[[str], list[Any]]) -> tuple[bool, int, str, str]:
    """Return whether a database holds nothing but the ledger; its server's major version, encoding and search path."""
    found: tuple[bool, int, str, str] = rows(_IS_EMPTY)[0]
    return found


def unfit(found: Checkpoint, server: int, encoding: str, search_path: str) -> str:
    """Return why a checkpoint does not stand for the revisions on this server; '' if it does.

    On another major the same revisions may lead elsewhere, and what `pg_dump` writes may not be known there.
    """
    if server != found.server:
        return f"it was written on PostgreSQL {found.server}, and this is {server}"
    if encoding != "UTF8":
        return f"this database is in {encoding}, not in UTF8"
    if search_path != USUAL_PATH:
        return f"the search path here is {search_path}"
    return ""


def require_same(found: Checkpoint, here: Mapping[str, str]) -> None:
    """Raise Refused unless the files of the revisions up to the checkpoint's head are those it was written from."""
    edited = [revision for revision, seal in here.items() if found.seals.get(revision, seal) != seal]
    added = [revision for revision in here if revision not in found.seals]
    gone = [revision for revision in found.seals if revision not in here]
    for what, revisions in (("was edited", edited), ("was added below its head", added), ("is not here", gone)):
        if revisions:
            more = f" and {len(revisions) - 1} more" if len(revisions) > 1 else ""
            raise Refused(f"the checkpoint is of other revisions: {revisions[0]}{more} {what}", ANEW)


def here(script: Any, found: Checkpoint) -> dict[str, str]:
    """Return the revisions that lead to a checkpoint's head by the files here, in their order, with their seals."""
    from alembic.util import CommandError  # noqa: PLC0415 - to read a checkpoint's seals takes no Alembic

    from lockstep.project import plan  # noqa: PLC0415

    try:
        steps = plan.make(script, (), lambda: plan.upgrade_steps(script, (), found.head)).steps
    except (CommandError, Usage):
        raise Refused(f"the checkpoint is of other revisions: {found.head} is not here", ANEW) from None
    return {step.revision: step.seal for step in steps}


def require_heads(script: Any, found: Checkpoint) -> None:
    """Raise Refused unless its heads, which go into the version table, are those that its revisions lead to."""
    below = {name for one in found.seals for name in script.get_revision(one)._versioned_down_revisions}  # noqa: SLF001
    if set(found.heads) != set(found.seals) - below:
        raise Refused(f"the checkpoint's revisions do not lead to {', '.join(found.heads)}", ANEW)


def into(cursor: Any, found: Checkpoint, run: int) -> None:
    """Run it, and note in the ledger what it stands for; raise StepFailed where its SQL has ended the transaction."""
    cursor.execute("SELECT txid_current()")
    begun = cursor.fetchone()
    if found.sql.strip():  # revisions may have nothing to leave
        cursor.execute(found.sql)  # no parameters: percent signs are themselves
    cursor.execute("SELECT txid_current()")
    if cursor.fetchone() != begun:
        raise StepFailed(f"the checkpoint ends its transaction by itself{_STAYS}", ANEW)
    message = f"loaded from the checkpoint {found.digest[:19]}"
    cursor.execute(
        _STEPS,
        {"run": run, "message": message, "revisions": list(found.seals), "seals": list(found.seals.values())},
    )


def line(found: Checkpoint, seconds: float) -> str:
    """Return what a person reads of a load that is committed."""
    return step_line("loaded", f"checkpoint of {len(found.seals)} revisions", int(seconds * 1000), 0)


@contextlib.contextmanager
def errors(run: Run, found: Checkpoint, is_lost: Callable[[], bool]) -> Iterator[None]:
    """Turn what the server says to a checkpoint into one clear line, with the place in the file."""
    try:
        yield
    except BaseException as error:
        run.interrupt.check()
        if is_lost():
            raise lost(run.control.where) from error
        original = getattr(error, "orig", error)
        if isinstance(error, MigratorError) or not hasattr(original, "pgcode"):
            raise
        raise _failed(original, found, is_empty(run.control.rows)[0]) from error


def _failed(error: Any, found: Checkpoint, empty: bool) -> StepFailed:
    diag = error.diag
    place = int(diag.statement_position or 0)
    text = found.sql[found.sql.rfind("\n", 0, place) + 1 :].partition("\n")[0][:120] if place else ""
    return StepFailed(
        f"the checkpoint cannot be loaded: {diag.message_primary or ' '.join(str(error).split())}"
        f"{'; nothing was kept' if empty else _STAYS}",
        "`migrator check` tries it on a throw-away server; --checkpoint none applies every revision in turn",
        details=(f"at: {text}",) if text else (),
    )
