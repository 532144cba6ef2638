"""Needs: what one release needs of the schema, as frozen values and canonical JSON.

The JSON goes into the ledger and is read by migrators of other versions, so it carries a format
number. A reader refuses a newer format: guessing at a need it does not know could break a release.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep_gate.errors import Refused, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT = 1


class ContractError(Refused):
    """A contract cannot be made or read."""


class ModelsError(Usage):
    """The models file cannot be loaded alone."""


class Column(NamedTuple):
    """One column as the release knows it; `type` is PostgreSQL's own text (`format_type`).

    `labels` are those of a native enum. `underlying` is what a domain is over.
    """

    name: str
    type: str
    may_write_null: bool
    may_omit_on_insert: bool
    writes: bool
    labels: tuple[str, ...] | None = None
    underlying: str | None = None


class Table(NamedTuple):
    """One table the release reads and writes; schema None is the connection's default one."""

    schema: str | None
    name: str
    columns: tuple[Column, ...]


class Contract(NamedTuple):
    """All a release needs; `sequences` are the ones it names itself in `nextval()`."""

    tables: tuple[Table, ...]
    sequences: tuple[tuple[str | None, str], ...] = ()

    @property
    def relations(self) -> tuple[tuple[str | None, str], ...]:
        """The (schema, name) of everything to look up in the catalog."""
        return (*((table.schema, table.name) for table in self.tables), *self.sequences)

    def to_json(self) -> str:
        """Canonical text: equal contracts give equal bytes."""
        body = {
            "format": FORMAT,
            "tables": [
                {"schema": table.schema, "name": table.name, "columns": list(_columns(table))}
                for table in sorted(self.tables, key=lambda one: (one.schema or "", one.name))
            ],
            "sequences": sorted(map(list, self.sequences), key=lambda one: (one[0] or "", one[1])),
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """Return the hex sha256 of the canonical text."""
        import hashlib  # noqa: PLC0415 - OpenSSL takes milliseconds to load, and not every run names a release

        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> Contract:
        """Read what `to_json` wrote; raises ContractError on a newer format or an edited one."""
        try:
            return _contract(json.loads(text) if isinstance(text, str) else text)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContractError(
                f"a recorded release contract is not one that a migrator wrote ({type(error).__name__}: {error})",
                "restore the contract column of that release, or delete its row if the release is gone for good",
            ) from error


def _contract(body: Mapping[str, Any]) -> Contract:
    version = body["format"]
    if type(version) is not int or version < FORMAT:
        raise ValueError(version)
    if version > FORMAT:
        raise ContractError(
            f"a release contract of format {version} is recorded; this migrator knows formats up to {FORMAT}",
            "run the migrator image of the newer release, or a later one",
        )
    return Contract(
        tables=tuple(_table(entry) for entry in body["tables"]),
        sequences=tuple(_name(*entry) for entry in body["sequences"]),
    )


def _columns(table: Table) -> Iterator[dict[str, Any]]:
    for column in sorted(table.columns, key=lambda one: one.name):
        yield {key: value for key, value in column._asdict().items() if value is not None}


def _table(entry: Mapping[str, Any]) -> Table:
    schema, name = _name(entry["schema"], entry["name"])
    columns = tuple(_column(**column) for column in entry["columns"])
    if len({column.name for column in columns}) != len(columns):
        raise ValueError(f"two columns of one name in {name}")
    return Table(schema, name, columns)


def _column(*, labels: list[str] | None = None, **rest: Any) -> Column:
    column = Column(**rest, labels=None if labels is None else tuple(labels))
    flags = (column.may_write_null, column.may_omit_on_insert, column.writes)
    texts = (column.name, column.type, *(column.labels or ()), column.underlying or "")
    if not all(type(flag) is bool for flag in flags) or not all(type(text) is str for text in texts):
        raise TypeError(f"column {column.name!r}")
    return column


def _name(schema: str | None, name: str) -> tuple[str | None, str]:
    if not (schema is None or type(schema) is str) or type(name) is not str:
        raise TypeError(f"relation {name!r}")
    return schema, name
