"""Column steps: the statements that settle a column that differs, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic.operations import ops

from lockstep.develop.autogenerate import columns, trial
from lockstep.develop.autogenerate import table_sql as to
from lockstep.develop.autogenerate.refusal import HAND, Refusal
from lockstep.develop.autogenerate.scene import Scene, shown
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.autogenerate.definitions import Key, Thing
    from lockstep.develop.autogenerate.differences import Difference


def steps(one: Difference, scene: Scene, rests: tuple[ops.MigrateOperation, ...] = ()) -> Iterator[Step]:
    """Yield the steps of a column; raise Refusal for what would rewrite the table.

    `rests` makes what the server drops along with the column.
    """
    key, table, where = one.key, to.quoted(one.key.schema, one.key.table), shown(*one.key[1:])
    group = shown(key.schema, key.table)
    if one.now and one.wanted:
        yield from _changed(one, scene)
    elif one.wanted:
        _refuse_filled(one.wanted, where)
        add = f" ADD COLUMN {to.column(key.name, one.wanted)}"
        if _tried(scene, key, f"ALTER TABLE {trial.COPY}{add}"):
            raise Refusal(
                f"{where}: adding it makes PostgreSQL rewrite the table while nobody can read it.", columns.BY_COPY
            )
        yield Step(
            Phase.ALTER,
            f"add {where}",
            run_all(_added(key, one.wanted)),
            run_all([f"ALTER TABLE {table} DROP COLUMN {to.quoted(key.name)}"]),
            group=group,
        )
    else:
        back = one.now
        if one.now.get("not null") and not any(map(one.now.get, ("default", "identity", "generated", "serial"))):
            yield _made_optional(key, table, where, group)
            back = one.now._replace(aspects=tuple(pair for pair in one.now.aspects if pair[0] != "not null"))
        yield Step(
            Phase.DROP_COLUMN, f"drop {where}", run_all([f"ALTER TABLE {table} DROP COLUMN {to.quoted(key.name)}"]),
            (NoteOp("The values are gone: the column comes back empty."),
             *run_all(_added(key, back)), *rests),
            (f"{group}: the values of {key.name} are lost; if this is a rename, add the new column, copy, then drop",),
        )  # fmt: skip


def _added(key: Key, thing: Thing) -> list[str]:
    """Return what adds a column, with its comment."""
    add = [f"ALTER TABLE {to.quoted(key.schema, key.table)} ADD COLUMN {to.column(key.name, thing)}"]
    return add + ([to.comment("COLUMN", to.quoted(*key[1:]), thing.get("comment"))] if thing.get("comment") else [])


def _made_optional(key: Key, table: str, where: str, group: str) -> Step:
    """Let the new release leave the column out for as long as it stays."""
    alter = f"ALTER TABLE {table} ALTER COLUMN {to.quoted(key.name)}"
    note = NoteOp(f"Fails while a row holds NULL in {key.name}: fill those first.")
    up, down = run_all([f"{alter} DROP NOT NULL"]), run_all([f"{alter} SET NOT NULL"])
    return Step(Phase.ALTER, f"make {where} optional", up, (note, *down), group=group)


def _refuse_filled(thing: Thing, where: str) -> None:
    if thing.get("not null") and not any(map(thing.get, ("default", "identity", "generated", "serial"))):
        raise Refusal(
            f"{where} is new, NOT NULL and has no server default: the rows that are there have no value for it.",
            "Give it a constant server_default, or write it nullable=True now and nullable=False in a later release.",
        )


def _changed(one: Difference, scene: Scene) -> Iterator[Step]:
    key, where = one.key, shown(*one.key[1:])
    alter = f"ALTER TABLE {to.quoted(key.schema, key.table)} ALTER COLUMN {to.quoted(key.name)}"
    _refuse_kind(one, where)
    up, down = [], []
    for thing, other, found in ((one.wanted, one.now, up), (one.now, one.wanted, down)):
        found += [f"{alter} {part}" for part in _parts(thing, other, one.aspects, back=found is down)]
        if "comment" in one.aspects:
            found.append(to.comment("COLUMN", to.quoted(*key[1:]), thing.get("comment")))
    if {"type", "collation"} & set(one.aspects):
        change = f"{where} changes from {_typed(one.now)} to {_typed(one.wanted)}"
        if _tried(
            scene, key, f"ALTER TABLE {trial.COPY} ALTER COLUMN {to.quoted(key.name)} {_retyped(one.wanted)}", change
        ):
            raise Refusal(
                f"{change}: PostgreSQL rewrites the table, or an index, while nobody can read it.", columns.BY_COPY
            )
        columns.refuse_checked(scene, key.schema, key.table, key.name, change)
    if up:
        yield Step(Phase.ALTER, f"change {where}", run_all(up), run_all(down), group=shown(key.schema, key.table))
    if "not null" in one.aspects and one.wanted.get("not null"):
        yield from columns.not_null(
            ops.AlterColumnOp(
                key.table, key.name, schema=key.schema, existing_type=sa.types.NULLTYPE, existing_nullable=True,
                existing_server_default=_default(one.wanted),
                modify_nullable=False,
            ),
            scene,
        )  # fmt: skip


def _default(thing: Thing) -> sa.TextClause | None:
    return trial.verbatim(thing.get("default")) if thing.get("default") else None


def _refuse_kind(one: Difference, where: str) -> None:
    if "generated" in one.aspects or "serial" in one.aspects:
        old, new = (
            thing.get("generated") or thing.get("serial") or "a plain column" for thing in (one.now, one.wanted)
        )
        raise Refusal(
            f"{where} changes from {old} to {new}: PostgreSQL has no way to that which leaves the table readable.",
            "Add a column of the new kind under another name, let the models use it, and drop the old one in a later "
            "release.",
        )
    if "identity" in one.aspects and not one.now.get("identity"):
        raise Refusal(
            f"{where} becomes an identity column: its sequence would begin at values that rows have.",
            HAND
            + f"ALTER COLUMN {to.quoted(one.key.name)} ADD GENERATED {one.wanted.get('identity')} AS IDENTITY, then "
            "setval(pg_get_serial_sequence(…), …) beyond the greatest value, in one revision.",
        )


def _parts(thing: Thing, other: Thing, aspects: tuple[str, ...], *, back: bool) -> Iterator[str]:
    """Yield what follows ALTER COLUMN to make the column what it is on this side."""
    retyped = {"type", "collation"} & set(aspects)
    if "identity" in aspects and not thing.get("identity"):  # a column with one takes no default
        yield "DROP IDENTITY"
    if "default" in aspects and not thing.get("default"):
        yield "DROP DEFAULT"
    if retyped:
        yield _retyped(thing)
    if "default" in aspects and thing.get("default"):
        yield f"SET DEFAULT {thing.get('default')}"
    if back and "not null" in aspects and thing.get("not null"):  # without it there is no identity
        yield "SET NOT NULL"
    if "identity" in aspects and thing.get("identity") and not other.get("identity"):
        yield f"ADD GENERATED {thing.get('identity')} AS IDENTITY ({thing.get('identity options')})"
    elif "identity" in aspects and thing.get("identity"):
        yield f"SET GENERATED {thing.get('identity')}"
    if "identity options" in aspects and thing.get("identity") and other.get("identity"):
        words = thing.get("identity options").replace("NO CYCLE", "NO_CYCLE").split()
        named = [word for word in words if word not in ("BY", "WITH")]
        yield _sequence_options(named)
    if "not null" in aspects and not thing.get("not null"):
        yield "DROP NOT NULL"


def _sequence_options(words: list[str]) -> str:
    cycle = words.pop()
    pairs = zip(words[::2], words[1::2], strict=True)
    return " ".join([f"SET {name} {value}" for name, value in pairs] + [f"SET {cycle.replace('_', ' ')}"])


def _retyped(thing: Thing) -> str:
    return f"TYPE {_typed(thing)}"


def _typed(thing: Thing) -> str:
    return thing.get("type") + (f" COLLATE {thing.get('collation')}" if thing.get("collation") else "")


def _tried(scene: Scene, key: Key, statement: str, change: str = "") -> bool:
    """Whether the statement rewrites a copy of the table; raise Refusal where the server refuses it."""
    try:
        return trial.rewrites(
            scene.connection, scene.quote(key.schema, key.table), scene.prelude, lambda run: run.execute(
                trial.verbatim(statement)
            ),
        )  # fmt: skip
    except (sa.exc.DBAPIError, trial.UntriedError) as error:
        what = change or f"{shown(*key[1:])} cannot be added"
        raise Refusal(f"{what}, and PostgreSQL refuses: {columns.first_line(error)}", columns.BY_COPY) from None
