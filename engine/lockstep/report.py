"""Report: what a run did in, lines for people or JSON for machines out.

Lines go out as they happen. With --json the lines go to stderr, and stdout holds one JSON document.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from lockstep.stop import signals

if TYPE_CHECKING:
    from io import TextIOBase

    from lockstep.errors import MigratorError

FORMAT = 1


class Report:
    """The two channels of one run."""

    def __init__(self, *, as_json: bool = False, verb: str = "", quiet: bool = False) -> None:
        """Begin one; what it holds for machines is put into `data` as it becomes known."""
        self.as_json, self.verb, self.quiet = as_json, verb, quiet
        self.data: dict[str, object] = {}
        self.out = sys.stdout  # kept: what a revision prints is sent elsewhere

    def line(self, text: str = "") -> None:
        """Write one line for people, at once."""
        if self.quiet:
            return
        _write(sys.stderr if self.as_json else self.out, text)

    def finish(self, code: int, outcome: str, text: str) -> int:
        """Write the last word: what happened, whether it is safe to run again, what to do; return the exit code."""
        if not self.quiet:
            signals.last_word()
        self.line(text)
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
        _write(sys.stderr, f"{error.word}: {error.message}.{cure} (exit {error.code}; {error.again})")
        return error.code


def step_line(word: str, label: str, duration_ms: int, waited_ms: int, note: str = "") -> str:
    """Return one aligned line a step: `applied    add_phone_number   212 ms   waited 0 ms`."""
    return f"{word:<10} {label:<36} {duration_ms:>6} ms   waited {waited_ms} ms{note}"


def _write(stream: TextIOBase, text: str) -> None:
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
