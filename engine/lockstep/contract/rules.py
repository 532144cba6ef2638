"""Rules: what may break a release, each with its severity and the safe way.

An error defers the revision. A warning is for what cannot be proven either way without the release's
queries and data; with `--strict` it counts as an error.
"""

from __future__ import annotations

from typing import NamedTuple

from lockstep.contract.need import Need

ERROR, WARNING = "error", "warning"


class Rule(NamedTuple):
    """One way to break a release; `cure` is the safe way, in one line."""

    severity: str
    cure: str


LATER = "once no live release uses it"
RULES = {
    "table-missing": Rule(ERROR, f"drop it {LATER}; to rename it, leave a view of the old name"),
    "not-writable": Rule(ERROR, "offer a plain view of one table, or INSTEAD OF triggers for each verb"),
    "read-only": Rule(WARNING, "nothing, if the release only reads it"),
    "view-unproven": Rule(ERROR, "offer a plain view (SELECT columns FROM one table), whose columns can be followed"),
    "view-trigger": Rule(WARNING, "try the release's own statements on the view before this goes out"),
    "column-missing": Rule(ERROR, f"drop it {LATER}; to rename it, add, copy, and drop the old one later"),
    "column-type": Rule(ERROR, f"add a column of the new type, write both, and drop the old one {LATER}"),
    "type-functions": Rule(WARNING, "check that the release calls no function made for the old type on it"),
    "null-refused": Rule(ERROR, "SET NOT NULL once no live release may write NULL to it"),
    "null-appears": Rule(WARNING, "give it a default as well, so that rows without a value do not appear"),
    "required-column": Rule(ERROR, "add it nullable or with a default; tighten it once every live release sends it"),
    "default-gone": Rule(ERROR, "keep the default until every live release sends the column"),
    "not-assignable": Rule(ERROR, "make it generated once no live release writes it"),
    "identity-always": Rule(WARNING, "leave it BY DEFAULT until no live release sends numbers of its own"),
    "type-name-gone": Rule(ERROR, "keep the type (and its name) until no live release names it in a cast"),
    "label-gone": Rule(ERROR, "keep the label until no live release writes it"),
    "label-unknown": Rule(WARNING, "write it once every live release knows it: reading it raises LookupError"),
    "new-limit": Rule(WARNING, "make sure that what the release writes holds it, or add it once that release is gone"),
    "unique-gone": Rule(WARNING, "keep the unique index while a live release may name it in ON CONFLICT"),
    "new-trigger": Rule(WARNING, "make sure that the trigger neither refuses nor alters what the release writes"),
    "new-rule": Rule(ERROR, "use a trigger: INSERT ... RETURNING fails on a table with a DO INSTEAD rule"),
    "partition-missing": Rule(ERROR, "attach a DEFAULT partition, so that every row finds a place"),
    "right-lost": Rule(ERROR, "grant it to the app's role in the same revision"),
    "right-missing": Rule(WARNING, "grant it to the app's role, if the release does that at all"),
    "row-security": Rule(ERROR, "create a permissive policy for the app's role in the same revision"),
    "row-policy": Rule(WARNING, "make sure that the policies show and accept all that the release reads and writes"),
    "sequence": Rule(ERROR, "grant USAGE on the sequence to the app's role, or keep it until no live release uses it"),
}  # fmt: skip


def need(rule: str, place: tuple[str | None, str, str | None], needs: str, offers: str) -> Need:
    """Make the finding of one rule at (schema, table, column)."""
    schema, table, column = place
    return Need(rule, RULES[rule].severity, schema, table, column, needs, offers, RULES[rule].cure)
