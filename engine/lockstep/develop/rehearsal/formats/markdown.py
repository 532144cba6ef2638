"""Markdown: a rehearsal as a comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.formats.place import relative
from lockstep.postgres.statements import shortened
from lockstep.report import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.findings import Finding
    from lockstep.develop.rehearsal.observation import Observation, Rehearsed
    from lockstep.develop.rehearsal.rehearse import Rehearsal

MARKER = "<!-- migrator rehearse -->"  # by which a later run finds its comment again


def write(rehearsal: Rehearsal) -> str:
    """Return the text."""
    return "\n".join(_lines(rehearsal)) + "\n"


def _lines(rehearsal: Rehearsal) -> Iterator[str]:
    yield MARKER
    yield f"### Rehearsal: {headline(rehearsal)}"
    yield ""
    if not rehearsal.revisions:
        yield f"Nothing to rehearse ({rehearsal.how})."
        return
    yield f"PostgreSQL {rehearsal.server}; {_rows(rehearsal)}; each revision ran up, down and up again."
    for one in rehearsal.revisions:
        yield from _revision(one, [finding for finding in rehearsal.findings if finding.revision == one.revision])
    if rehearsal.not_reached:
        yield from ("", f"Not reached: {', '.join(f'`{one}`' for one in rehearsal.not_reached)}")
    if rehearsal.loads:
        yield from (
            "",
            "| under load | longest wait | p99 before | during | after | failed |",
            "|---|---|---|---|---|---|",
        )
        yield from (f"| {' | '.join(measured.cells())} |" for measured in rehearsal.loads)
    apart = [one for one in rehearsal.opinions if not one.agrees]
    if apart:
        yield from ("", "The server and squawk disagree:", "")
        for one in apart:
            said = f"server: {', '.join(one.server) or 'nothing'}; squawk: {', '.join(one.squawk) or 'nothing'}"
            yield f"- `{shortened(one.sql, 70)}`: {said}"


def headline(rehearsal: Rehearsal) -> str:
    """Return the verdict in a few words."""
    errors, warnings = len(rehearsal.errors), len(rehearsal.warnings)
    if not errors and not warnings:
        return f"nothing found in {counted(len(rehearsal.revisions), 'revision')}"
    return f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"


def _rows(rehearsal: Rehearsal) -> str:
    filled = ", ".join(f"{one.rows:,} in `{one.table}`" for one in rehearsal.filled)
    return f"made-up rows: {filled}" if filled else "no table of before is touched"


def _revision(one: Rehearsed, found: list[Finding]) -> Iterator[str]:
    yield from (
        "",
        f"#### {'⛔' if any(_counts(item) for item in found) else '✅'} `{one.label}` ({relative(one.path)})",
    )
    for finding in found:
        yield from _finding(finding)
    yield from (
        "",
        "<details><summary>Statements</summary>",
        "",
        "| statement | ms | locks | did |",
        "|---|---|---|---|",
    )
    yield from (_statement(seen) for seen in one.up.observations)
    yield from ("", "</details>")


def _counts(finding: Finding) -> bool:
    return finding.level == "error" and not finding.waived


def _finding(finding: Finding) -> Iterator[str]:
    place = f", line {finding.line}" if finding.line else ""
    first, *rest = finding.observed.splitlines()
    yield ""
    if finding.waived:
        yield f"- allowed: **{finding.rule}** ({first}), because {finding.waived}"
        return
    yield f"- **{finding.level}: {finding.title.lower()}** (`{finding.rule}`{place}): {first}"
    if finding.blocks:
        yield f"  Blocks {finding.blocks}."
    if rest:
        yield from ("", "  ```diff", *(f"  {line}" for line in rest), "  ```")
    if finding.instead:
        yield from ("", "  Write instead:", "", "  ```python")
        yield from (f"  {line}" for line in finding.instead.splitlines())
        yield "  ```"


def _statement(seen: Observation) -> str:
    locks = "<br>".join(f"{lock.words} on {lock.relation}" for lock in seen.taken)
    did = [f"rewrote {name}" for name in seen.changes.rewritten]
    did += [f"built {index.name}" for index in (*seen.changes.indexes_built, *seen.changes.indexes_rebuilt)]
    did += [f"read {count:,} of {table}" for table, count in seen.rows_read]
    did += [f"wrote {count:,} of {table}" for table, count in seen.rows_written]
    sql = _cell(shortened(seen.sql, 100)).replace("`", "'")
    done = "<br>".join(did) or seen.error or ""
    return f"| `{sql}` | {seen.duration_ms:.1f} | {_cell(locks)} | {_cell(done)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
