"""Snapshot: what the schema offers, as frozen values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Name = tuple[str | None, str]
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")


class NamedType(NamedTuple):
    """An enum or a domain; `checks` counts a domain's CHECK constraints."""

    schema: str
    name: str
    visible: bool
    labels: tuple[str, ...] | None = None
    underlying: str | None = None
    not_null: bool = False
    has_default: bool = False
    checks: int = 0


class Column(NamedTuple):
    """One column as the schema offers it; `identity` is "", "always" or "by default".

    A `hidden` one is a required column of the table beneath a view, which the view does not show.
    """

    name: str
    type: str
    not_null: bool
    has_default: bool
    identity: str
    generated: bool
    updatable: bool = True
    named: NamedType | None = None
    closed_sequence: str | None = None
    hidden: bool = False
    null_default: bool = False  # DEFAULT NULL, kept as an expression where the type has a length

    @property
    def required(self) -> bool:
        """Whether an INSERT that leaves the column out fails."""
        return self.not_null and not (self.has_default or self.identity or self.generated)

    @property
    def writable(self) -> bool:
        """Whether a release may give it a value of its own."""
        return self.updatable and not self.generated and self.identity != "always"


class Constraint(NamedTuple):
    """A unique index, CHECK, EXCLUDE, foreign key, trigger or rule; `definition` tells two of one name apart."""

    kind: str
    name: str
    columns: tuple[str, ...]
    definition: str


class Policy(NamedTuple):
    """A row level security policy that counts for the role; `condition` is "" for `true`."""

    name: str
    verbs: tuple[str, ...]
    permissive: bool
    condition: str


class Relation(NamedTuple):
    """A table, view or sequence; `missing_rights` maps a verb to the columns it is refused on."""

    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...] = ()
    verbs: tuple[str, ...] = VERBS
    by_trigger: tuple[str, ...] = ()
    fills_rows: bool = False
    row_security: bool = False
    policies: tuple[Policy, ...] = ()
    missing_rights: tuple[tuple[str, tuple[str, ...]], ...] = ()
    schema_closed: bool = False
    catch_all: bool = True
    unproven: str | None = None


class Catalog(NamedTuple):
    """What the schema offers under the names asked for; `role` is whose rights were looked at."""

    relations: Mapping[Name, Relation]
    types: frozenset[tuple[str, str, bool]]
    role: str | None

    def find(self, name: Name) -> Relation | None:
        """Return the relation of that name; one in the default schema may be asked for with and without it."""
        found = self.relations.get(name)
        if found is None and name[0] is not None:
            there = self.relations.get((None, name[1]))
            return there if there is not None and there.schema == name[0] else None
        return found
