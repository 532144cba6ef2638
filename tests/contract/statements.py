"""Statements: a release and a connection in, what failed of all that the release does out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from tests.contract.releases import KINDS, Release, TableSpec, omittable, written


@dataclass(frozen=True)
class Failure:
    table: str
    statement: str
    reason: str


def run(connection: sa.Connection, release: Release) -> list[Failure]:
    """Insert (all columns, the fewest, NULL where allowed, in bulk), select, update and delete, as a release does."""
    failures: list[Failure] = []
    for model, spec in zip(release.classes, release.specs, strict=True):
        _Run(connection, model, spec, failures).all()
    return failures


class _Run:
    def __init__(self, connection: sa.Connection, model: type, spec: TableSpec, failures: list[Failure]) -> None:
        self.connection, self.model, self.spec, self.failures = connection, model, spec, failures
        self.table = model.__table__
        self.writes = [(f"c{i}", KINDS[c.kind]) for i, c in enumerate(spec.columns) if written(c)]
        self.serial = 1000

    def all(self) -> None:
        self.try_("select", lambda: self.connection.execute(sa.select(self.table)).all())
        variants = range(max((len(kind.values) for _, kind in self.writes), default=1))
        for variant in variants:
            self.try_(f"insert all {variant}", lambda variant=variant: self.insert_all(variant))
        self.try_("insert fewest", lambda: self.insert({}, fewest=True))
        nullable = [
            f"c{index}" for index, column in enumerate(self.spec.columns) if column.nullable and written(column)
        ]
        if nullable:
            self.try_("insert null", lambda: self.insert(dict.fromkeys(nullable)))
        self.try_("bulk", self.bulk)
        self.try_("bulk fewest", lambda: self.flush({}, {}))
        if self.writes:
            self.try_("update", lambda: self.update(variants, nullable))
        if self.spec.key != "always":
            self.try_("update id", self.update_key)
        self.try_("delete", self.delete)

    def try_(self, name: str, action: Any) -> None:
        savepoint = self.connection.begin_nested()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever a type's own reader raises is a failure of the release
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            self.failures.append(Failure(self.table.name, name, reason))
        finally:
            savepoint.rollback()

    def value(self, name: str, variant: int) -> tuple[Any, Any]:
        kind = dict(self.writes)[name]
        index = variant % len(kind.values)
        return kind.values[index], (kind.reads or kind.values)[index]

    def insert(self, values: dict[str, Any], *, fewest: bool = False, key: bool = False) -> Any:
        for index, column in enumerate(self.spec.columns):
            if not (fewest and omittable(column)) and written(column):
                values.setdefault(f"c{index}", self.value(f"c{index}", 0)[0])
        if key and self.spec.key != "always":
            self.serial += 1
            values["id"] = uuid.uuid4() if self.spec.key == "uuid" else self.serial
        return self.connection.execute(sa.insert(self.table).values(values)).inserted_primary_key[0]

    def insert_all(self, variant: int) -> None:
        pairs = {name: self.value(name, variant) for name, _ in self.writes}
        for with_key in (True, False):
            key = self.insert({name: write for name, (write, _) in pairs.items()}, key=with_key)
            # Each value is looked for as well as read: a comparison needs an operator for the type.
            looked_for = [self.table.c[name] == pairs[name][0] for name, kind in self.writes if kind.compares]
            row = self.read(sa.and_(self.table.c.id == key, *looked_for))
            for index, column in enumerate(self.spec.columns):
                assert written(column) or type(row[index + 1]) in {int, type(None)}, (
                    f"c{index} reads {row[index + 1]!r}"
                )
            for name, (_, expected) in pairs.items():
                same(getattr(row, name), expected, name)

    def read(self, condition: Any) -> Any:
        rows = self.connection.execute(sa.select(self.table).where(condition)).all()
        assert len(rows) == 1, f"{len(rows)} rows where {condition}"
        return rows[0]

    def bulk(self) -> None:
        self.flush(*({name: self.value(name, variant)[0] for name, _ in self.writes} for variant in (0, 1)))

    def flush(self, *rows: dict[str, Any]) -> None:
        """Two objects in one flush: with a generated key SQLAlchemy casts each value to the model's type."""
        fewest = [
            {f"c{i}": self.value(f"c{i}", 0)[0] for i, c in enumerate(self.spec.columns) if not omittable(c)} | row
            for row in rows
        ]
        with orm.Session(self.connection, join_transaction_mode="create_savepoint") as session:
            objects = [self.model() for _ in fewest]
            for one, row in zip(objects, fewest, strict=True):
                for name, value in row.items():
                    setattr(one, name, value)
            session.add_all(objects)
            session.flush()
            session.expire_all()
            for one, row in zip(objects, fewest, strict=True):
                for name, value in row.items():
                    expected = dict(self.reads(name)).get(repr(value), value)
                    same(getattr(one, name), expected, name)

    def reads(self, name: str) -> list[tuple[str, Any]]:
        kind = dict(self.writes)[name]
        return [(repr(value), read) for value, read in zip(kind.values, kind.reads or kind.values, strict=True)]

    def update(self, variants: range, nullable: list[str]) -> None:
        key = self.insert({})
        for variant in variants:
            pairs = {name: self.value(name, variant) for name, _ in self.writes}
            self.set_(
                key,
                {name: write for name, (write, _) in pairs.items()},
                {name: read for name, (_, read) in pairs.items()},
            )
        if nullable:
            self.set_(key, dict.fromkeys(nullable), dict.fromkeys(nullable))

    def set_(self, key: Any, values: dict[str, Any], expected: dict[str, Any]) -> None:
        done = self.connection.execute(sa.update(self.table).where(self.table.c.id == key).values(values))
        assert done.rowcount == 1, "no row updated"
        row = self.read(self.table.c.id == key)
        for name, value in expected.items():
            same(getattr(row, name), value, name)

    def update_key(self) -> None:
        new = uuid.uuid4() if self.spec.key == "uuid" else 999
        change = sa.update(self.table).where(self.table.c.id == self.insert({})).values(id=new)
        assert self.connection.execute(change).rowcount == 1, "no row updated"
        self.read(self.table.c.id == new)

    def delete(self) -> None:
        key = self.insert({})
        done = self.connection.execute(sa.delete(self.table).where(self.table.c.id == key))
        assert done.rowcount == 1, "no row deleted"


def same(found: Any, expected: Any, name: str) -> None:
    assert type(found) is type(expected), f"{name} reads as {type(found).__name__}, not {type(expected).__name__}"
    assert found == expected, f"{name} reads {found!r:.40}, not {expected!r:.40}"
