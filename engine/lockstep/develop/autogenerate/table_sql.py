"""Table SQL: the statements that make an object as it is defined."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.autogenerate.definitions import Definitions, Key, Thing

_SERIAL = {"smallint": "smallserial", "integer": "serial", "bigint": "bigserial"}
_CREATE_INDEX = re.compile(r"^(CREATE (?:UNIQUE )?INDEX )((?:\"(?:[^\"]|\"\")*\"|[^\s\"]+)) ON (?:ONLY )?")


def quoted(*names: str | None) -> str:
    """Return a name, or a dotted path of names, quoted; None parts are left out."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names if name is not None)


def literal(text: str) -> str:
    """Return a string literal that means the same whatever `standard_conforming_strings` is."""
    return ("E" if "\\" in text else "") + "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def table(there: Definitions, key: Key) -> Iterator[str]:
    """Yield what makes a table with all that is its own; foreign keys are `foreign_keys`."""
    name, thing = quoted(key.schema, key.table), there.things[key]
    own = {one.name: found for one, found in there.of_table(key.schema, key.table, "column")}
    columns = [column(each, own[each]) for each in there.order[key.schema, key.table] if each in own]
    text = f"CREATE {thing.get('kind')} {name} ({', '.join(columns)})"
    if thing.get("inherits"):
        text += f" INHERITS ({thing.get('inherits')})"
    if thing.get("partition key"):
        text += f" PARTITION BY {thing.get('partition key')}"
    yield text + (f" WITH ({thing.get('options')})" if thing.get("options") else "")
    if thing.get("comment"):
        yield comment("TABLE", name, thing.get("comment"))
    for each, found in own.items():
        if found.get("comment"):
            yield comment("COLUMN", quoted(key.schema, key.table, each), found.get("comment"))
    # unique constraints first: nothing else can be what a key of the table itself points to
    constraints = sorted(there.of_table(key.schema, key.table, "constraint"), key=lambda one: one[1].get("type") == "c")
    for each, found in constraints:
        if found.get("type") != "f":
            yield from constraint(each, found)
    for each, found in there.of_table(key.schema, key.table, "index"):
        yield index(each, found)


def foreign_keys(there: Definitions, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield what makes the foreign keys of a table, with their keys."""
    for each, found in there.of_table(key.schema, key.table, "constraint"):
        if found.get("type") == "f":
            for statement in constraint(each, found):
                yield each, statement


def column(name: str, thing: Thing) -> str:
    """Return a column as CREATE TABLE and ADD COLUMN take it."""
    type_ = _SERIAL.get(thing.get("type"), thing.get("type")) if thing.get("serial") else thing.get("type")
    text = f"{quoted(name)} {type_}"
    if thing.get("collation"):
        text += f" COLLATE {thing.get('collation')}"
    if thing.get("identity"):
        text += f" GENERATED {thing.get('identity')} AS IDENTITY ({thing.get('identity options')})"
    elif thing.get("generated"):
        text += f" GENERATED ALWAYS AS {thing.get('generated')}"
    elif thing.get("default"):
        text += f" DEFAULT {thing.get('default')}"
    return text + (" NOT NULL" if thing.get("not null") else "")


def constraint(key: Key, thing: Thing) -> Iterator[str]:
    """Yield what makes a constraint on the table that is there."""
    table_name = quoted(key.schema, key.table)
    yield f"ALTER TABLE {table_name} ADD CONSTRAINT {quoted(key.name)} {thing.get('definition')}"
    if thing.get("comment"):
        yield comment("CONSTRAINT", f"{quoted(key.name)} ON {table_name}", thing.get("comment"))


def dropped_constraint(key: Key) -> str:
    """Return what drops a constraint."""
    return f"ALTER TABLE {quoted(key.schema, key.table)} DROP CONSTRAINT {quoted(key.name)}"


def index(key: Key, thing: Thing, *, concurrently: bool = False, name: str | None = None) -> str:
    """Return what makes an index; under another name if one is given."""
    word = "CONCURRENTLY " if concurrently else ""
    # a function for the replacement: a name may hold a backslash
    return _CREATE_INDEX.sub(lambda found: f"{found[1]}{word}{quoted(name or key.name)} ON ", thing.get("definition"))


def comment(kind: str, name: str, text: str) -> str:
    """Return what puts a comment on an object; an empty text takes it away."""
    return f"COMMENT ON {kind} {name} IS {literal(text) if text else 'NULL'}"
