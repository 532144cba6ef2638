"""Text: a rehearsal as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.postgres.statements import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.develop.rehearsal.findings import Finding
    from lockstep.develop.rehearsal.observation import Observation, Rehearsed
    from lockstep.develop.rehearsal.rehearse import Rehearsal


def lines(rehearsal: Rehearsal, *, statements: bool = True) -> Iterator[str]:
    """Give the lines; without `statements` only the verdict on each revision."""
    for one in rehearsal.revisions:
        yield f"rehearsed  {one.label:<36} {one.up.duration_ms:>6.0f} ms   {_ways(one)}"
        if statements:
            for seen in one.up.observations:
                yield from _statement(seen)
        for finding in rehearsal.findings:
            if finding.revision == one.revision:
                yield from _finding(finding)
    for revision in rehearsal.not_reached:
        yield f"unreached  {revision}"
    for opinion in rehearsal.opinions:
        if not opinion.agrees:
            yield f"disagree   {opinion.label}: {shortened(opinion.sql, 60)}"
            said = ", ".join(opinion.squawk) or "nothing"
            yield f"           server: {', '.join(opinion.server) or 'nothing'}; squawk: {said}"
    for measured in rehearsal.loads:
        yield f"load       {measured.summary}"


def _ways(one: Rehearsed) -> str:
    return ", ".join(f"{done.direction}{' failed' if done.error else ''}" for done in one.passes)


def _statement(seen: Observation) -> Iterator[str]:
    yield f"    {shortened(seen.sql, 110)}"
    parts = [f"{seen.duration_ms:.1f} ms"]
    parts += [f"{lock.words} on {lock.relation}{'' if lock.standing else ' (new)'}" for lock in seen.taken]
    parts += [f"rewrote {name}" for name in seen.changes.rewritten]
    parts += [f"built {index.name}" for index in (*seen.changes.indexes_built, *seen.changes.indexes_rebuilt)]
    parts += [f"read {count:,} rows of {table}" for table, count in seen.rows_read]
    parts += [f"wrote {count:,} rows of {table}" for table, count in seen.rows_written]
    parts.append(f"{seen.wal_bytes / 1024:.0f} KiB WAL")
    yield f"      {seen.error or '; '.join(parts)}"


def _finding(finding: Finding) -> Iterator[str]:
    word = "allowed" if finding.waived else finding.level
    place = f"   line {finding.line}" if finding.line else ""
    observed = finding.observed.splitlines()
    yield f"{word:<10} {finding.rule}: {observed[0]}{place}"
    for line in observed[1:]:
        yield f"           {line}"
    if finding.waived:
        yield f"           because {finding.waived}"
        return
    if finding.blocks:
        yield f"           blocks {finding.blocks}"
    for line in finding.instead.splitlines():
        yield f"           | {line}"
