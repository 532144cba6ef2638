"""Report: tell what a run does, in lines for people and as JSON for machines.

Each line goes out as it happens. With --json the lines go to stderr, and stdout holds one JSON document. A terminal
gets colours and tables (`terminal`); a log, a pipe and a file get plain lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from lockstep.stop import signals

if TYPE_CHECKING:
    from typing import TextIO

    from lockstep.errors import MigratorError

FORMAT = 1


class Report:
    """The two channels of one run."""

    def __init__(self, *, as_json: bool = False, verb: str = "", quiet: bool = False) -> None:
        """Begin one; what it holds for machines is put into `data` as it becomes known."""
        self.as_json, self.verb, self.quiet = as_json, verb, quiet
        self.data: dict[str, object] = {}
        self.out = sys.stdout  # kept: what a revision prints is sent elsewhere

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self.as_json else self.out

    @property
    def is_looked_at(self) -> bool:
        """Tell whether a person at a terminal reads along."""
        return not self.quiet and _is_terminal(self._stream)

    def prepare(self) -> None:
        """Load what a terminal needs, before anything is locked: it takes a while."""
        if self.is_looked_at:
            from lockstep import terminal  # noqa: F401, PLC0415 - only for a terminal

    def line(self, text: str = "") -> None:
        """Write one line for people, at once."""
        if self.quiet:
            return
        if self.is_looked_at:
            from lockstep import terminal  # noqa: PLC0415 - only for a terminal

            text = terminal.line(self._stream, text)
        _write(self._stream, text)

    def sql(self, lines: list[str]) -> None:
        """Write lines of SQL, as they are."""
        if self.is_looked_at:
            from lockstep import terminal  # noqa: PLC0415 - only for a terminal

            _write(self._stream, terminal.sql(self._stream, "\n".join(lines)))
            return
        for one in lines:
            self.line(one)

    def table(self, headings: tuple[str, ...], rows: list[tuple[str, ...]], lines: list[str]) -> None:
        """Write a table to a terminal; to all else the lines, which say the same."""
        if self.is_looked_at and rows:
            from lockstep import terminal  # noqa: PLC0415 - only for a terminal

            _write(self._stream, terminal.table(self._stream, headings, rows))
            return
        for one in lines:
            self.line(one)

    def finish(self, code: int, outcome: str, text: str) -> int:
        """Write the last word: what happened, whether it is safe to run again, what to do; return the exit code."""
        if not self.quiet:
            signals.last_word()
            _write(self._stream, text)  # plain: a run with nothing to do says this and no more
        if self.as_json:
            document = {"format": FORMAT, "verb": self.verb, "outcome": outcome, "exit_code": code, **self.data}
            _write(self.out, json.dumps(document, default=str, indent=2))
        return code

    def error(self, error: MigratorError) -> int:
        """Write an expected error as the last word and return its exit code."""
        signals.last_word()
        for detail in error.details:
            _write(sys.stderr, f"  {detail}")
        self.data["error"] = {
            "class": type(error).__name__, "message": error.message, "cure": error.cure, "details": list(error.details),
        }  # fmt: skip
        if self.as_json:
            document = {
                "format": FORMAT,
                "verb": self.verb,
                "outcome": error.word,
                "exit_code": error.code,
                **self.data,
            }
            _write(self.out, json.dumps(document, default=str, indent=2))
        cure = f" Cure: {error.cure}." if error.cure else ""
        _write(sys.stderr, _in_colour(f"{error.word}: {error.message}.{cure} (exit {error.code}; {error.again})"))
        return error.code


def step_line(word: str, label: str, duration_ms: int, waited_ms: int, note: str = "") -> str:
    """Return one aligned line a step: `applied    add_phone_number   212 ms   waited 0 ms`."""
    return f"{word:<10} {label:<36} {duration_ms:>6} ms   waited {waited_ms} ms{note}"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it was closed
        return False


def _in_colour(text: str) -> str:
    """Return the last word of a run that failed as a terminal shows it, plain where that cannot be loaded any more."""
    if not _is_terminal(sys.stderr):
        return text
    try:
        from lockstep import terminal  # noqa: PLC0415 - only for a terminal

        return terminal.last_word(sys.stderr, text)
    except (OSError, ImportError, MemoryError):  # the machine may have run out of open files or of memory
        return text


def _write(stream: TextIO, text: str) -> None:
    """Write a line; a reader that went away (`| head`) does not fail the run."""
    with contextlib.suppress(BrokenPipeError, ValueError, OSError):
        print(text, file=stream, flush=True)


def silence_closed_streams() -> None:
    """Keep the interpreter from failing at exit over a closed stdout."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError, OSError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def counted(count: int, word: str) -> str:
    """Return '1 error', '2 errors'."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
