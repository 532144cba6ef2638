"""Rules about rows that a step wrote itself: gone ones, and words that a release may not know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import UNKNOWN, Match, Rule, Scene
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

_SHORT = 64
_FEW = 20


def _deleted(scene: Scene, _change: None) -> Iterator[Match]:
    for oid, rows in scene.rows.items():
        relation = scene.after.relations.get(oid)
        if relation is not None and rows.deleted and scene.is_met(oid):
            yield Match(relation, "rows that it looks up or refers to", f"{rows.deleted} rows fewer", oid)


def _emptied(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after and change.before and change.differs("file") and change.before.oid == after.oid and after["kind"] == "r":
        if scene.is_met(after.oid) and not scene.look.value(f"SELECT 1 FROM {_named(after)} LIMIT 1"):
            yield Match(after, "the rows that it had", "none", after.oid)


def _named(relation: Thing) -> str:
    return f"{quoted(relation.schema)}.{quoted(relation.name)}"


def _words(scene: Scene, _change: None) -> Iterator[Match]:
    """Sample what was written into short texts that hold few words: one that was never there may be unknown."""
    for oid, rows in scene.rows.items():
        relation = scene.after.relations.get(oid)
        if (
            relation is None
            or not (rows.inserted or rows.updated)
            or not scene.is_mapped(oid)
            or relation["kind"] not in {"r", "p"}
        ):
            continue
        for column in scene.after.those("column", oid):
            if _is_word(scene, column) and (new := _new_words(scene, relation, column)):
                yield Match(
                    column, "words that it knows", f"{', '.join(map(repr, new))}, which no row had", oid, column.name
                )


def _is_word(scene: Scene, column: Thing) -> bool:
    limit = re.fullmatch(r"character varying\((\d+)\)", column["type"] or "")
    short = bool(limit) and int(limit[1]) <= _SHORT if limit else False
    enum = any(one.oid == int(column["type_oid"] or 0) and one["type"] == "e" for one in scene.after.every("type"))
    return bool(scene.columns(column.owner, column.name)) and (short or enum) and not column["generated"]


def _new_words(scene: Scene, relation: Thing, column: Thing) -> list[str]:
    """Return words of this transaction's rows that no other row has; none where there are too many to be words."""
    name, table = quoted(column.name), _named(relation)
    young = "age(xmin) <= age(pg_current_xact_id()::xid) + 1 AND xmin::text::bigint > 2"
    found = scene.look.value(
        f"SELECT array_agg(w) FROM (SELECT DISTINCT {name}::text AS w FROM (SELECT {name} FROM {table} "
        f"WHERE {young} AND {name} IS NOT NULL LIMIT 1000) s LIMIT {_FEW + 1}) d"
    )
    if not found or len(found) > _FEW:
        return []
    values = ", ".join("'" + one.replace("'", "''") + "'" for one in found)
    known = _known_words(scene, relation, column, values)
    default = column["default"] or ""
    labels = {label for one in scene.columns(column.owner, column.name) for label in one.labels or ()}
    return [one for one in found if one not in known and one not in labels and not default.startswith(f"'{one}'")]


def _known_words(scene: Scene, relation: Thing, column: Thing, values: str) -> list[str]:
    """Return which of these words rows had before; of a table that is too large to ask, those that ANALYZE saw."""
    was = scene.before.relations.get(relation.oid)
    old = scene.before.column(relation.oid, column.name)
    if was is None or old is None:
        return []
    question = f"SELECT coalesce(array_agg(DISTINCT {quoted(column.name)}::text), '{{}}') FROM {_named(was)} WHERE {quoted(column.name)}::text IN ({values})"
    known = scene.look.was(question)
    if known is None:
        literals = ["'" + one.replace("'", "''") + "'" for one in (was.schema, was.name, column.name)]
        known = scene.look.value(
            "SELECT most_common_vals::text::text[] FROM pg_stats "
            f"WHERE (schemaname, tablename, attname) = ({', '.join(literals)})"
        )
    return known or []


RULES = (
    Rule(
        "rows-deleted", UNKNOWN, "Rows were deleted", "A release may look them up, or refer to them.",
        "delete them once no live release uses them", (), _deleted,
        bad="DELETE FROM notes WHERE true", good="SELECT 1",
    ),
    Rule(
        "rows-gone", UNKNOWN, "A table was emptied", "",
        "delete rows once no live release uses them", ("relation",), _emptied,
        bad="TRUNCATE notes", good="ALTER TABLE notes ALTER weight TYPE real",
    ),
    Rule(
        "word-written", UNKNOWN, "A word that no row had", "An Enum that does not know it raises LookupError for every row that has it.",
        "write it once every live release knows it", (), _words,
        bad="UPDATE orders SET state = 'other'", good="UPDATE orders SET amount = 2",
    ),
)  # fmt: skip
