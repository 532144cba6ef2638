"""Rules: every rule as docs/rules.md shows it. Run as a module, it prints that page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.scene import Rule

# ruff: noqa: E501 - prose
_HEAD = """# What a rehearsal finds

Written by `make rules` from the rules themselves; the tests run every example on a real server.

`migrator rehearse` runs each pending revision on a throw-away PostgreSQL with made-up rows and watches: which lock each
statement took on which table, which tables were written anew, how many rows were read while writers were kept out, which
indexes were built. A finding is decided by what was seen, not by what the statement looks like: a widening that PostgreSQL
does for nothing is none. A table that only the pending revisions make is nobody's yet, and is left alone.

An **error** fails the rehearsal (exit 1), a **warning** does not. A revision may allow a rule with a reason, in a comment:

```python
# migrator: allow index-blocks-writes: the table holds twelve rows, and only we write to it
```

What is an error on the way up is a warning on the way down ("the downgrade: …"), for nobody takes that on an ordinary day;
a waiver counts for both. A waiver that was not needed is a finding too (`waiver`). What an old release still needs of the schema is not looked for
here: `upgrade` defers that by itself.

In the examples `orders` and `customers` are in use and hold rows. Each block is one revision.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_table(), *(line for rule in RULES for line in _rule(rule))])


def _table() -> Iterator[str]:
    yield from ("| rule | level | what is found |", "|---|---|---|")
    for rule in RULES:
        yield f"| [`{rule.id}`](#{rule.id}) | {rule.level} | {rule.title} |"
    yield "| `waiver` | warning | A waiver that does nothing |\n"


def _rule(rule: Rule) -> Iterator[str]:
    yield f"## {rule.id}\n"
    yield f"{rule.level.capitalize()}. {rule.title}. {rule.why}".rstrip() + "\n"
    if rule.setup:
        lines = rule.setup.replace("; ", ";\n").replace(";CREATE", ";\nCREATE").replace(";INSERT", ";\nINSERT")
        yield f"Given:\n\n```sql\n{lines}\n```\n"
    yield f"Found:\n\n```python\n{rule.bad.rstrip()}\n```\n"
    yield "Not found:\n"
    for body in rule.good:
        yield f"```python\n{body.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(page())
