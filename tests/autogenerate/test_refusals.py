"""Changes that are not written as they stand: what is said, that all is said, and that nothing is written."""

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.dialects import postgresql

from lockstep.develop.autogenerate import Refusal
from tests.autogenerate.changes import column, label, tables
from tests.autogenerate.models import ROWS, put, world

AGED = {"users": put(code=lambda: Column("code", sa.String(20)), ck=lambda: sa.CheckConstraint("code <> ''", name="c"))}
AGED_WIDE = {"users": put(code=lambda: Column("code", Text), ck=lambda: sa.CheckConstraint("code <> ''", name="c"))}

REFUSED = {
    "a required column without a default": (
        {},
        column("phone", nullable=False),
        "users.phone is new, NOT NULL and has no server default",
        "nullable=True now",
    ),
    "a required column with a volatile default": (
        {},
        column("token", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")),
        "users.token is NOT NULL and its default gives each row a value of its own",
        "nullable=False in a later release",
    ),
    "an identity column": (
        {},
        column("number", sa.BigInteger, sa.Identity(), nullable=False),
        "users.number is an identity column",
        "number the old rows in batches",
    ),
    "a stored generated column": (
        {},
        column("upper", Text, sa.Computed("upper(name)", persisted=True)),
        "users.upper is a stored generated column",
        "a trigger that keeps it",
    ),
    "a column of a domain with a check": (
        {},
        column("size", postgresql.DOMAIN("positive", Integer, check="value > 0")),
        "users.size: its type positive makes PostgreSQL rewrite the table",
        "and a CHECK",
    ),
    "int to bigint": (
        {},
        column("age", sa.BigInteger, server_default="18", nullable=False),
        "users.age changes from INTEGER to BIGINT: PostgreSQL rewrites",
        "copy the old rows over",
    ),
    "text to varchar": (
        {},
        column("name", sa.String(10)),
        "users.name changes from TEXT to VARCHAR(10)",
        "add a column",
    ),
    "a narrower varchar": (
        {},
        column("code", sa.String(10)),
        "users.code changes from VARCHAR(20) to VARCHAR(10)",
        "add a column",
    ),
    "timestamp to timestamptz": (
        {},
        column("seen", sa.DateTime(timezone=True)),
        "users.seen changes from TIMESTAMP WITHOUT TIME ZONE to",
        "add a column",
    ),
    "text to int": (
        {},
        column("name", Integer),
        "users.name changes from TEXT to INTEGER, and PostgreSQL refuses",
        "add a column",
    ),
    "a wider type under a check": (
        AGED,
        AGED_WIDE,
        "PostgreSQL checks every row against ck_users_c anew",
        "Take the check out",
    ),
    "an enum label taken away": (
        tables(label("a", "b")),
        tables(label("a")),
        "enum Mood of day loses b",
        "stop writing it",
    ),
    "enum labels in another order": (
        tables(label("a", "b")),
        tables(label("b", "a")),
        "has its labels in another order",
        "Leave the label",
    ),
    "another primary key": (
        tables(
            lambda m: Table(
                "t",
                m,
                Column("a", Integer, primary_key=True, autoincrement=False),
                Column("b", Integer, nullable=False),
            )
        ),
        tables(
            lambda m: Table(
                "t",
                m,
                Column("a", Integer, primary_key=True, autoincrement=False),
                Column("b", Integer, primary_key=True),
            )
        ),
        "t: the primary key changes from (a) to (a, b)",
        "USING INDEX",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_what_to_write_and_nothing_is_written(name: str, project) -> None:
    before, after, message, cure = REFUSED[name]
    made = project(world(**before), ROWS + "create domain positive as int check (value > 0);")
    with pytest.raises(Refusal) as refused:
        made.revision(world(**after))
    assert message in refused.value.message
    assert cure in refused.value.cure
    assert list((made.directory / "versions").iterdir()) == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (lambda: Index("ix_parts", "id"), "index ix_parts"),
        (lambda: UniqueConstraint("id", name="uq_parts"), "uq_parts"),
    ],
)
def test_an_index_of_a_partitioned_table_is_refused(item, message: str, project) -> None:
    made = project(MetaData(), "create table parts (id int) partition by range (id)")
    metadata = MetaData()
    Table("parts", metadata, Column("id", Integer), item())
    with pytest.raises(Refusal, match="partitioned") as refused:
        made.revision(metadata)
    assert message in refused.value.message


def test_every_refusal_is_said_at_once(project) -> None:
    made = project(world(), ROWS)

    def both(items):
        items["phone"] = Column("phone", Text, nullable=False)
        items["age"] = Column("age", sa.BigInteger, server_default="18", nullable=False)

    with pytest.raises(Refusal) as refused:
        made.revision(world(both))
    assert refused.value.message == "2 changes of the models cannot be written as they stand."
    assert "1. users.phone is new" in str(refused.value)
    assert "2. users.age changes from INTEGER to BIGINT" in str(refused.value)
