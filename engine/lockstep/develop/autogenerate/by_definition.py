"""By definition: steps that settle a difference between revisions and models, in the server's own words.

For what Alembic does not propose, and for what its proposal did not lead to. What would block somebody out is refused
here as everywhere else, with what to write by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.autogenerate import column_steps, constraint_steps, enums
from lockstep.develop.autogenerate import table_sql as to
from lockstep.develop.autogenerate.refusal import HAND, Refusal
from lockstep.develop.autogenerate.scene import Scene, shown
from lockstep.develop.autogenerate.step import NoteOp, Phase, Step, autocommit, execute, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.operations import ops

    from lockstep.develop.autogenerate.definitions import Definitions, Key, Thing
    from lockstep.develop.autogenerate.differences import Difference, Renamed

CREATED = "created"  # the group of what new tables are made in


def steps(one: Difference, now: Definitions, wanted: Definitions, scene: Scene) -> Iterator[Step]:
    """Yield the steps of one difference; raise Refusal where none is right."""
    match one.key.kind:
        case "schema":
            yield _made(Phase.SCHEMA, one.key, [f"CREATE SCHEMA {to.quoted(one.key.schema)}"], "SCHEMA", None)
        case "enum":
            yield from enums.steps(one.key, one.now, one.wanted, scene)
        case "domain":
            yield from _domain(one)
        case "sequence":
            yield from _sequence(one)
        case "table":
            yield from _table(one, now, wanted)
        case "column":
            yield from column_steps.steps(one, scene, tuple(_along(one, now, wanted)))
        case "constraint":
            yield from constraint_steps.constraint(one, scene)
        case "index":
            yield from constraint_steps.index(one, scene)


def _along(one: Difference, now: Definitions, wanted: Definitions) -> Iterator[ops.MigrateOperation]:
    """Yield what makes again what the server drops with a column; with the first of several that it rests on."""
    if one.wanted is not None:
        return
    columns = {key.name for key, _ in now.of_table(one.key.schema, one.key.table, "column") if key not in wanted.things}
    for kind in ("constraint", "index"):
        for key, thing in now.of_table(one.key.schema, one.key.table, kind):
            if one.key.name != min(thing.columns & columns, default=None):
                continue
            if kind == "index":
                yield autocommit(execute(to.index(key, thing, concurrently=True)))
            else:
                yield from map(execute, to.constraint(key, thing))


def made_first(one: Difference) -> str:
    """Return the statement that makes a schema, a type or a sequence, which columns may need."""
    match one.key.kind:
        case "schema":
            return f"CREATE SCHEMA {to.quoted(one.key.schema)}"
        case "sequence":
            return f"CREATE SEQUENCE {to.quoted(one.key.schema, one.key.name)} {one.wanted.get('options')}"
        case _:
            return _domain_sql(one.key, one.wanted)


def _domain_sql(key: Key, thing: Thing) -> str:
    parts = [f"CREATE DOMAIN {to.quoted(key.schema, key.name)} AS {thing.get('type')}"]
    parts += [f"COLLATE {thing.get('collation')}"] if thing.get("collation") else []
    parts += [f"DEFAULT {thing.get('default')}"] if thing.get("default") else []
    return " ".join([*parts, *(part for part in (thing.get("not null"), thing.get("check")) if part)])


def renamed(one: Renamed) -> Step:
    """Give a constraint or an index the name that the models give it: metadata only."""
    key, table = one.key, to.quoted(one.key.schema, one.key.table)

    def rename(old: str, new: str) -> ops.ExecuteSQLOp:
        if key.kind == "index":
            return execute(f"ALTER INDEX {to.quoted(key.schema, old)} RENAME TO {to.quoted(new)}")
        return execute(f"ALTER TABLE {table} RENAME CONSTRAINT {to.quoted(old)} TO {to.quoted(new)}")

    where = shown(key.schema, key.table)
    review = f"{where}: {key.name} is called {one.name} from now on; ON CONFLICT ON CONSTRAINT names it"
    return Step(
        Phase.ALTER, f"rename {key.name}", (rename(key.name, one.name),), (rename(one.name, key.name),), (review,),
        group=where,
    )  # fmt: skip


def _made(phase: Phase, key: Key, statements: list[str], word: str, group: str | None = CREATED) -> Step:
    name = to.quoted(key.schema, key.name or None)
    title = f"create {word.lower()} {shown(key.schema, key.name)}"
    drop = execute(f"DROP {word} {name}")
    return Step(phase, title, tuple(map(execute, statements)), (drop,), group=group, joins_next=True)


def _dropped(step: Step, phase: Phase, title: str, review: str) -> Step:
    return Step(phase, title, step.down, step.up, (review,))


def _domain(one: Difference) -> Iterator[Step]:
    thing = one.wanted or one.now
    where = shown(one.key.schema, one.key.name)
    if one.now and one.wanted:
        raise Refusal(
            f"domain {where} changes its {', '.join(one.aspects)}.",
            HAND
            + "ALTER DOMAIN … ADD CONSTRAINT … NOT VALID, and VALIDATE in a revision of its own; another base type "
            "is another domain.",
        )
    step = _made(Phase.TYPE, one.key, [_domain_sql(one.key, thing)], "DOMAIN", "types")
    yield (
        step
        if one.wanted
        else _dropped(
            step, Phase.DROP_TYPE, f"drop domain {where}", f"domain {where} is dropped: no model uses it any more"
        )
    )


def _sequence(one: Difference) -> Iterator[Step]:
    name, where = to.quoted(one.key.schema, one.key.name), shown(one.key.schema, one.key.name)
    if one.now and one.wanted:
        up, down = (f"ALTER SEQUENCE {name} {thing.get('options')}" for thing in (one.wanted, one.now))
        yield Step(Phase.ALTER, f"change sequence {where}", (execute(up),), (execute(down),))
        return
    thing = one.wanted or one.now
    step = _made(Phase.TYPE, one.key, [f"CREATE SEQUENCE {name} {thing.get('options')}"], "SEQUENCE", "types")
    yield (
        step
        if one.wanted
        else _dropped(
            step, Phase.DROP_TYPE, f"drop sequence {where}", f"sequence {where} is dropped: its count is lost"
        )
    )


def _table(one: Difference, now: Definitions, wanted: Definitions) -> Iterator[Step]:
    key, name, where = one.key, to.quoted(one.key.schema, one.key.table), shown(one.key.schema, one.key.table)
    if one.now is None or one.wanted is None:
        there = wanted if one.wanted else now
        make = tuple(map(execute, to.table(there, key)))
        if one.wanted:
            yield Step(Phase.CREATE, f"create {where}", make, (execute(f"DROP TABLE {name}"),), group=CREATED)
        keys = [(each, execute(text)) for each, text in to.foreign_keys(there, key)]
        for each, add in keys:
            drop = execute(to.dropped_constraint(each))
            if one.wanted:
                yield Step(Phase.CREATE_KEY, f"add {each.name}", (add,), (drop,), group=CREATED)
            else:
                yield Step(Phase.DROP_FOREIGN_KEY, f"drop {each.name}", (drop,), (add,))
        if one.now:
            note = NoteOp("The rows are gone: the table comes back empty.")
            review = f"{where}: its rows are lost; if this is a rename, add the new table, copy, then drop"
            drop = execute(f"DROP TABLE {name}")
            yield Step(Phase.DROP_TABLE, f"drop table {where}", (drop,), (note, *make), (review,))
        return
    if odd := [aspect for aspect in one.aspects if aspect not in ("comment", "options")]:
        raise Refusal(
            f"{where} changes its {', '.join(odd)}: {one.now.get(odd[0]) or 'none'} to "
            f"{one.wanted.get(odd[0]) or 'none'}.",
            "No statement makes that of a table without rewriting it: make a new table, write both, copy, and drop the "
            "old one in a later release.",
        )
    up, down = [], []
    if "comment" in one.aspects:
        up, down = ([to.comment("TABLE", name, thing.get("comment"))] for thing in (one.wanted, one.now))
    if "options" in one.aspects and one.wanted.get("options"):
        up.append(f"ALTER TABLE {name} SET ({one.wanted.get('options')})")
        names = ", ".join(option.partition("=")[0] for option in one.wanted.get("options").split(", "))
        before = one.now.get("options")
        down.insert(0, f"ALTER TABLE {name} RESET ({names})")
        down[1:1] = [f"ALTER TABLE {name} SET ({before})"] if before else []
    yield Step(Phase.ALTER, f"change {where}", run_all(up), run_all(down), group=where)
