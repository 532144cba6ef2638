"""Releases: a plain description in, real SQLAlchemy models and the values to write with them out."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql as pg

DAY = dt.datetime(2024, 2, 29, 12, 30, 15)  # noqa: DTZ001 - for the types without a time zone
UTC = DAY.replace(tzinfo=dt.UTC)
LABELS = ("sad", "ok", "very happy")


@dataclass(frozen=True)
class Kind:
    """A column type: its values, at the limits of the type, and a server default."""

    type: Any
    values: tuple
    default: str
    compares: bool = True
    reads: tuple | None = None  # where it reads back differently from what was written


KINDS = {
    "smallint": Kind(sa.SmallInteger(), (1, 32767), "7"),
    "integer": Kind(sa.Integer(), (2, 2147483647), "7"),
    "bigint": Kind(sa.BigInteger(), (3, 2**63 - 1), "7"),
    "varchar5": Kind(sa.String(5), ("ab", "xxxxx"), "'d'"),
    "varchar": Kind(sa.String(), ("ab", "x" * 500), "'d'"),
    "text": Kind(sa.Text(), ("", "y" * 500), "'d'"),
    "char4": Kind(sa.CHAR(4), ("ab", "wxyz"), "'d'", reads=("ab  ", "wxyz")),
    "numeric62": Kind(sa.Numeric(6, 2), (Decimal("1.50"), Decimal("9999.99")), "1.5"),
    "numeric": Kind(sa.Numeric(), (Decimal("1.23456789"), Decimal(10) ** 30), "1.5"),
    "real": Kind(sa.REAL(), (1.5, -0.25), "1.5"),
    "double": Kind(sa.Double(), (2.5, 1e300), "1.5"),
    "boolean": Kind(sa.Boolean(), (True, False), "true"),
    "date": Kind(sa.Date(), (DAY.date(), dt.date(9999, 12, 31)), "current_date"),
    "timestamp": Kind(sa.DateTime(), (DAY, DAY.replace(microsecond=123456)), "now()"),
    "timestamp0": Kind(pg.TIMESTAMP(precision=0), (DAY,), "now()"),
    "timestamptz": Kind(sa.DateTime(timezone=True), (UTC, UTC.replace(microsecond=1)), "now()"),
    "time": Kind(sa.Time(), (DAY.time(), dt.time(23, 59, 59, 999999)), "localtime"),
    "interval": Kind(sa.Interval(), (dt.timedelta(days=3, seconds=1, microseconds=5),), "'1 day'"),
    "bytea": Kind(sa.LargeBinary(), (b"", b"\x00\xff"), "''"),
    "uuid": Kind(sa.Uuid(), (uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)), "gen_random_uuid()"),
    "json": Kind(sa.JSON(), ({"a": [1, None]}, [1]), "'{}'", compares=False),
    "jsonb": Kind(pg.JSONB(), ({"a": [1, None]}, [1]), "'{}'"),
    "integers": Kind(pg.ARRAY(sa.Integer()), ([1, 2147483647], []), "'{}'"),
    "texts": Kind(pg.ARRAY(sa.Text()), (["a", "b"], []), "'{}'"),
    "varbit": Kind(pg.BIT(4, varying=True), (pg.BitString("1"), pg.BitString("1010")), "'1'", compares=False),
    "inet": Kind(pg.INET(), ("10.0.0.1", "10.0.0.0/8"), "'10.0.0.1'"),
    "enum": Kind(sa.Enum(*LABELS, name="mood"), LABELS, "'ok'"),
    "enums": Kind(pg.ARRAY(sa.Enum(*LABELS, name="mood")), (["sad"], ["ok", "very happy"]), "'{}'"),
    "words": Kind(sa.Enum("one", "three", native_enum=False), ("one", "three"), "'one'"),
}
KEYS = ("identity", "always", "serial", "uuid")
DEFAULTS = ("none", "server", "python", "computed")


@dataclass(frozen=True)
class ColumnSpec:
    kind: str
    nullable: bool
    default: str


@dataclass(frozen=True)
class TableSpec:
    key: str
    columns: tuple[ColumnSpec, ...]
    unique: bool = False


@dataclass(frozen=True)
class Release:
    """The models of a release, each a mapped class beside the description it comes from."""

    metadata: sa.MetaData
    classes: tuple[type, ...]
    specs: tuple[TableSpec, ...]


def release(specs: tuple[TableSpec, ...]) -> Release:
    """Real models: tables t0, t1, ... with columns id, c0, c1, ..."""
    registry = orm.registry()
    classes = []
    for number, spec in enumerate(specs):
        columns = [_column(index, column) for index, column in enumerate(spec.columns)]
        unique = [sa.UniqueConstraint("id", name=f"uq_t{number}")] if spec.unique else []
        table = sa.Table(f"t{number}", registry.metadata, _key(spec.key), *columns, *unique)
        model = type(f"T{number}", (), {})
        registry.map_imperatively(model, table)
        classes.append(model)
    return Release(registry.metadata, tuple(classes), specs)


def written(column: ColumnSpec) -> bool:
    return column.default != "computed"


def omittable(column: ColumnSpec) -> bool:
    """Whether an INSERT of the release may leave it out: worked out anew, so that the contract is tested too."""
    return column.nullable or column.default != "none"


def _key(key: str) -> sa.Column:
    if key == "uuid":
        return sa.Column("id", sa.Uuid(), primary_key=True, default=uuid.uuid4)
    identity = () if key == "serial" else (sa.Identity(always=key == "always"),)
    return sa.Column("id", sa.BigInteger() if identity else sa.Integer(), *identity, primary_key=True)


def _column(index: int, spec: ColumnSpec) -> sa.Column:
    kind = KINDS[spec.kind]
    if spec.default == "computed":
        # An expression that takes no other column, so that it stands whatever happens to the others.
        return sa.Column(f"c{index}", sa.Integer(), sa.Computed("1 + 1", persisted=True), nullable=spec.nullable)
    server = {"server_default": sa.text(kind.default)} if spec.default == "server" else {}
    python = {"default": kind.values[0]} if spec.default == "python" else {}
    return sa.Column(f"c{index}", kind.type, nullable=spec.nullable, **server, **python)
