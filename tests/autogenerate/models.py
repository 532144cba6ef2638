"""Models: small tables every change starts from, and rows in them."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Identity, Index, MetaData, Table, Text, UniqueConstraint

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Items = dict[str, object]
Edit = Callable[[Items], object]


def world(
    users: Edit | None = None,
    organisations: Edit | None = None,
    without: tuple[str, ...] = (),
    more: Callable[[MetaData], object] | None = None,
    names: dict[str, str] | None = None,
) -> MetaData:
    """The models, edited: a table's columns and constraints are items of a dict."""
    metadata = MetaData(naming_convention=NAMES if names is None else names)
    parts: dict[str, Items] = {
        "organisations": {
            "id": Column("id", sa.BigInteger, Identity(), primary_key=True),
            "name": Column("name", Text, nullable=False),
            "city": Column("city", Text),
        },
        "users": {
            "id": Column("id", sa.BigInteger, Identity(), primary_key=True),
            "email": Column("email", Text, nullable=False),
            "name": Column("name", Text),
            "code": Column("code", sa.String(20)),
            "age": Column("age", sa.Integer, nullable=False, server_default="18"),
            "seen": Column("seen", sa.DateTime),
            "organisation_id": Column("organisation_id", sa.BigInteger),
            "uq_email": UniqueConstraint("email"),
            "ix_name": Index("ix_users_name", "name"),
        },
    }
    for edit, items in ((users, parts["users"]), (organisations, parts["organisations"])):
        if edit:
            edit(items)
    for name, items in parts.items():
        if name not in without:
            Table(name, metadata, *items.values())
    if more:
        more(metadata)
    return metadata


ROWS = """
insert into organisations (name, city) select 'o' || n, 'c' || n from generate_series(1, 3) n;
insert into users (email, name, code, age, seen, organisation_id)
select 'e' || n, 'n' || n, 'c' || n, n, now(), 1 + n % 3 from generate_series(1, 40) n;
"""


def references(on: str = "organisation_id", to: str = "organisations.id", **kw) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([on], [to], **kw)


def child(metadata: MetaData) -> Table:
    """A table with a foreign key to users."""
    return Table(
        "orders",
        metadata,
        Column("id", sa.BigInteger, Identity(), primary_key=True),
        Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
        Column("note", Text, unique=True),
        Column("parent_id", ForeignKey("orders.id")),
        sa.CheckConstraint("note <> ''", name="note"),
    )


def put(**items) -> Edit:
    """Add or replace items, each made anew: a column belongs to one table."""
    return lambda current: current.update({name: make() for name, make in items.items()})


def take(*names: str) -> Edit:
    """Leave items out."""
    return lambda current: [current.pop(name) for name in names]
