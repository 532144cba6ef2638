"""Pages: docs/verdicts.md, written from the rules (`python -m lockstep.contract.footprint.pages`)."""

from __future__ import annotations

import sys
from pathlib import Path

from lockstep.contract.footprint.judge import UNFORESEEN
from lockstep.contract.footprint.rules import RULES
from lockstep.contract.footprint.scene import BREAKS, HARMLESS, UNKNOWN, Rule

_WORDS = {
    BREAKS: "It breaks a live release: the revision is rolled back and deferred.",
    UNKNOWN: "It may break a live release: said before the revision commits, and deferred with `--strict`.",
    HARMLESS: "Proved harmless: nothing is said.",
}
_HEAD = """# What a change does to a release that is live

<!-- Written from the rules: python -m lockstep.contract.footprint.pages -->

A release stands on more than the columns that its models name: defaults, triggers and what they call, sequences, keys,
policies, views, rights, the settings of its role. While a release reports, `upgrade` reads all of that before and after
each revision, in the revision's own transaction, and gives every change one of three verdicts:

- **breaks**: it can be proved. The revision is rolled back and deferred, until no release that objects is live;
- **unknown**: it may, and nobody can tell without the release's own queries or data. `upgrade` says so before it
  commits (`may break …` in the text, `unknown` in `--json`, the table `migrator.unknown` in the ledger); with
  `--strict` it is deferred;
- **harmless**: it can be proved, and nothing is said.

What cannot be read off is tried, in a savepoint that is rolled back, as the app's role: a default is evaluated, the
next number of a sequence is held against the greatest key, a new CHECK against the labels, lengths and NULLs that the
models may write, and the release's elementary statements are planned with EXPLAIN.
What the columns of the models themselves need is told by the release contract, whose findings have the same form.

The examples are on the tables `orders`, `items`, `notes` and `events` of a release, and on `log`, to which only a
trigger writes.
"""


def text() -> str:
    """Return the page."""
    parts = [_HEAD]
    for verdict in (BREAKS, UNKNOWN, HARMLESS):
        parts.append(f"## {verdict.capitalize()}\n\n{_WORDS[verdict]}\n")
        parts += [_section(rule) for rule in (*RULES, UNFORESEEN) if rule.verdict == verdict]
    return "\n".join(parts)


def _section(rule: Rule) -> str:
    lines = [f"### {rule.id}", "", f"{rule.title}." + (f" {rule.why}" if rule.why else ""), ""]
    if rule.bad:
        lines += ["```sql", *(f"{one.strip()};" for one in _statements(rule.bad)), "```", ""]
    if rule.good:
        lines += [
            "Nothing is said of:" if rule.bad else "As in:",
            "",
            "```sql",
            *(f"{one.strip()};" for one in _statements(rule.good)),
            "```",
            "",
        ]
    if rule.cure:
        lines += [f"Cure: {rule.cure}.", ""]
    return "\n".join(lines)


def _statements(sql: str) -> list[str]:
    """Split an example into its statements; what stands between dollars is one."""
    parts, inside = [""], False
    for piece in sql.split("$$"):
        pieces = [piece] if inside else piece.split(";")
        parts[-1] += ("$$" if inside else "") + pieces[0] + ("$$" if inside else "")
        parts += pieces[1:]
        inside = not inside
    return [one for one in parts if one.strip()]


def main() -> int:
    """Write the page."""
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/verdicts.md")
    place.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
