"""`migrator rehearse`: pending revisions run on a throw-away PostgreSQL, every statement watched."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.develop.rehearsal import ground, rehearse
from lockstep.develop.rehearsal.formats import markdown, text
from lockstep.develop.rehearsal.options import Options
from lockstep.errors import EXIT_DONE, Refused, Usage
from lockstep.report import counted
from lockstep.settings import duration_ms

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.develop.rehearsal.rehearse import Rehearsal
    from lockstep.report import Report
    from lockstep.settings import Settings

FORMATS = ("text", "markdown", "json", "github", "sarif")
MOST_ROWS = 10_000_000


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Rehearse and report; Refused where a finding is an error."""
    options = _options(arguments)
    if report.as_json and arguments.format not in {"text", "json"}:
        raise Usage(f"--json and --format {arguments.format} both say what to print", "give one of them")
    report.quiet = arguments.format != "text" and not report.as_json
    _require_files(arguments)
    if options.server:
        ground.require_bare(options.server)
    rehearsal = rehearse.run(settings, options, report.line)
    _write(rehearsal, report, arguments)
    if rehearsal.errors:
        first = rehearsal.errors[0]
        raise Refused(
            f"the rehearsal found {markdown.headline(rehearsal)}",
            f"{first.label}: {first.title.lower()}; write what the finding shows, or allow it in the file: "
            f"# migrator: allow {first.rule}: why",
        )
    return report.finish(EXIT_DONE, "done", verdict(rehearsal))


def verdict(rehearsal: Rehearsal) -> str:
    """Return the last line."""
    if not rehearsal.revisions:
        return f"done: nothing to rehearse ({rehearsal.how}); --from base rehearses all"
    return (
        f"done: {len(rehearsal.revisions)} rehearsed ({rehearsal.how}) on PostgreSQL {rehearsal.server} in "
        f"{rehearsal.took_s:.1f} s; 0 errors, {counted(len(rehearsal.warnings), 'warning')}"
    )


def _options(arguments: Namespace) -> Options:
    try:
        count = int(str(arguments.rows).replace("_", ""))
    except ValueError:
        raise Usage(f"--rows: {arguments.rows!r} is not a number", "write it like 10000") from None
    if not 0 <= count <= MOST_ROWS:
        raise Usage(f"--rows: {count} is out of range", f"from 0 to {MOST_ROWS}")
    if arguments.format not in FORMATS:
        raise Usage(f"--format: there is no {arguments.format!r}", f"one of {', '.join(FORMATS)}")
    if arguments.start and arguments.against:
        raise Usage("--from and --against both say where to begin", "give one of them")
    return Options(
        start=arguments.start, end=arguments.end, against=arguments.against, rows=count,
        seed=Path(arguments.seed) if arguments.seed else None, server=arguments.shadow_url or None,
        load=arguments.load or arguments.compare or bool(arguments.long_transaction),
        long_transaction_s=duration_ms(arguments.long_transaction or "0", "--long-transaction") / 1000,
        compare=arguments.compare,
    )  # fmt: skip


def _require_files(arguments: Namespace) -> None:
    """Raise Usage for a file that cannot be read or written, before minutes are spent."""
    if arguments.seed and not Path(arguments.seed).is_file():
        raise Usage(f"--seed {arguments.seed}: there is no such file", "give an SQL file in UTF-8")
    page = Path(arguments.html or "page.html")
    if arguments.html and (page.is_dir() or not os.access(page.parent, os.W_OK)):
        why = "it is a directory" if page.is_dir() else f"{page.parent} cannot be written to"
        raise Usage(f"--html {arguments.html}: {why}", "give a file that can be written")


def _write(rehearsal: Rehearsal, report: Report, arguments: Namespace) -> None:
    for line in text.lines(rehearsal):
        report.line(line)
    if report.as_json:
        document = importlib.import_module("lockstep.develop.rehearsal.formats.json")
        report.data |= document.document(rehearsal)
    elif arguments.format != "text":
        sys.stdout.write(
            importlib.import_module(f"lockstep.develop.rehearsal.formats.{arguments.format}").write(rehearsal)
        )
    if arguments.html:
        page = importlib.import_module("lockstep.develop.rehearsal.formats.html")
        try:
            Path(arguments.html).write_text(page.write(rehearsal), encoding="utf-8")
        except OSError as error:
            raise Usage(f"--html {arguments.html}: {error.strerror}", "give a file that can be written") from None
        report.line(f"wrote      {arguments.html}")
