"""Need: one thing that a release needs and a schema does not give."""

from __future__ import annotations

from typing import NamedTuple


class Need(NamedTuple):
    """One broken need, or a warning: what the release needs, what it is offered, the safe way."""

    rule: str
    severity: str
    schema: str | None
    table: str
    column: str | None
    needs: str
    offers: str
    cure: str

    @property
    def place(self) -> str:
        """`schema.table.column`, as far as there is one."""
        return ".".join(part for part in (self.schema, self.table, self.column) if part)

    def __str__(self) -> str:
        return f"{self.place}: the release needs {self.needs}; the schema would offer {self.offers}"
