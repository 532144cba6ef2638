"""Terminal: what a person at a terminal sees instead of a log's plain lines: colours, tables, and a bar.

Each function returns text for the terminal behind a stream, and the caller writes it. `rich` takes 50 ms to import:
this module is imported for a terminal only, never by a run with nothing to do, and never while a lock is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import RenderableType

WORD = 10  # characters of a line's first column, which says what the line is about
BAR = 24
_STYLES = {
    "green": ("adopted", "applied", "checked", "loaded", "stamped"),
    "yellow": (
        "deferred",
        "paused",
        "pending",
        "reverted",
        "review",
        "started",
        "stranger",
        "unknown",
        "waiting",
        "warning",
    ),
    "red": ("broken", "drift", "error", "failed", "finding"),
}
_STYLE = {word: style for style, words in _STYLES.items() for word in words}


def line(stream: TextIO, text: str) -> str:
    """Return a line with its first word in the colour of what it says; a long one is wrapped by the terminal."""
    word = text[:WORD].partition(" ")[0]
    return _painted(stream, text, _STYLE.get(word, ""), len(word))


def last_word(stream: TextIO, text: str) -> str:
    """Return the line that says why a run failed, its first word red."""
    return _painted(stream, text, "red", len(text.partition(":")[0]))


def table(stream: TextIO, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as wide as the terminal at most; the first column is painted as a line's first word is."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold")  # nothing is left out
    for word, *cells in rows:
        made.add_row(Text(word, _STYLE.get(word, "")), *map(Text, cells))
    return _rendered(stream, made)


def sql(stream: TextIO, text: str) -> str:
    """Return SQL with its words in colours."""
    from rich.syntax import Syntax  # noqa: PLC0415 - it brings pygments

    return _rendered(
        stream, Syntax(text, "postgresql", theme="ansi_dark", background_color="default").highlight(text), wraps=False
    )


def bar(stream: TextIO, share: float, text: str) -> str:
    """Return a bar and what is said of it, on one line that is cut where the terminal ends."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=BAR)
    row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(ProgressBar(total=1.0, completed=share), Text(text))
    return _rendered(stream, row)


def _painted(stream: TextIO, text: str, style: str, width: int) -> str:
    painted = Text(text)
    painted.stylize(style, 0, width)
    return _rendered(stream, painted, wraps=False)


def _rendered(stream: TextIO, what: RenderableType, *, wraps: bool = True) -> str:
    console = Console(file=stream, highlight=False, emoji=False, markup=False)  # heeds TERM and NO_COLOR
    with console.capture() as made:
        console.print(what, soft_wrap=not wraps)
    return made.get().strip("\n")
