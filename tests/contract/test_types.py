"""The table of allowed widenings, each entry tried: the release's own statements on a column of the other type."""

from __future__ import annotations

import pytest

from tests.contract.cases import Case, outcome
from tests.contract.changes import TYPES
from tests.contract.releases import KINDS, ColumnSpec, TableSpec

ALLOWED = {
    "smallint": {"integer", "bigint", "any_integer"},
    "integer": {"bigint", "any_integer"},
    "bigint": {"any_integer"},
    "varchar5": {"varchar(9)", "varchar(400)", "varchar", "text", "any_text"},
    "varchar": {"text", "any_text"},
    "text": {"varchar", "any_text"},
    "numeric62": {"numeric(9,2)", "numeric(9,4)", "numeric"},
    "real": {"double precision"},
    "timestamp0": {"timestamp(3)", "timestamp"},
    "json": {"jsonb"},
    "varbit": {"varbit(8)", "varbit"},
    "enum": {"varchar(400)", "varchar", "text", "any_text"},
    "words": {"varchar(9)", "varchar(400)", "varchar", "text", "any_text"},
}


def retyped(connection, kind: str, type_: str):
    table = TableSpec("identity", (ColumnSpec(kind, nullable=False, default="none"),))
    return outcome(connection, Case((table,), (("retype", 0, 0, TYPES.index(type_)),)))


@pytest.mark.parametrize(
    ("kind", "type_"), [(kind, type_) for kind, types in ALLOWED.items() for type_ in sorted(types)]
)
def test_a_widening_is_allowed_and_works(release_database, kind, type_):
    result = retyped(release_database, kind, type_)
    assert result.made
    assert not result.broken
    assert not result.failures


@pytest.mark.parametrize(
    ("kind", "type_"),
    [("integer", "smallint"), ("text", "varchar(3)"), ("timestamp", "timestamptz"), ("enums", "text")],
)
def test_anything_else_breaks_the_release(release_database, kind, type_):
    result = retyped(release_database, kind, type_)
    assert result.broken
    assert result.failures


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_no_change_of_type_is_wrongly_allowed(release_database, kind):
    for type_ in TYPES:
        result = retyped(release_database, kind, type_)
        assert not result.missed, (type_, result.missed)
        if result.false_alarm:
            print(f"false alarm: {kind} -> {type_}")
