"""Drawing: a revision's statements, and the waits of the clients, as two SVG pictures."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.develop.rehearsal.clients import Sample
    from lockstep.develop.rehearsal.load import Measured, Window
    from lockstep.develop.rehearsal.observation import Lock, Observation

WIDTH, LEFT, RIGHT = 960, 150, 20
LANE, BAR = 26, 16
NARROWEST = 7.0  # pixels: a statement that is over at once is still to be seen
PLOT, HEAD, FOOT = 150, 14, 26
MOST_POINTS = 4000
AROUND_S = 0.4  # of the load, before and after
LEAST_MS, TICKS = 0.1, (0.1, 1, 10, 100, 1000, 10_000, 100_000)


@dataclass(frozen=True)
class _Span:
    """A statement's place on the picture."""

    left: float
    right: float
    seen: Observation


def timeline(observations: tuple[Observation, ...]) -> str:
    """Return the statements in a row, and under them each table with the locks held on it."""
    spans = _spans(observations)
    if not spans:
        return ""
    tables = sorted({lock.relation for seen in observations for lock in seen.held if lock.standing})
    height = HEAD + LANE * (len(tables) + 1) + 6
    parts = [_lane(0, "statements")]
    for number, span in enumerate(spans):
        parts.append(_bar(0, span.left, span.right, "statement", str(number + 1), _told(number, span.seen)))
    for row, table in enumerate(tables, 1):
        parts.append(_lane(row, table))
        parts += [
            _bar(row, left, right, weight(lock), lock.words, f"{lock.words} on {table}")
            for left, right, lock in _held(spans, table)
        ]
    parts += [
        f'<line class="edge" x1="{one.right:.1f}" x2="{one.right:.1f}" y1="{HEAD - 6}" y2="{height - 4}"/>'
        for one, other in itertools.pairwise(spans)
        if one.seen.transaction != other.seen.transaction
    ]
    return _svg(height, parts, "Statements from left to right, and the locks held on each table")


def weight(lock: Lock) -> str:
    """Return the class of a lock: whom it keeps out."""
    return "all" if lock.blocks_reads else "writes" if lock.blocks_writes else "nobody"


def _spans(observations: tuple[Observation, ...]) -> list[_Span]:
    """Place the statements in a row, as long as they took; the time between them is the observer's own."""
    room = WIDTH - LEFT - RIGHT - NARROWEST * len(observations)
    total = sum(seen.duration_ms for seen in observations) or 1
    spans, left = [], float(LEFT)
    for seen in observations:
        right = left + NARROWEST + max(room, 0) * seen.duration_ms / total
        spans.append(_Span(left, right, seen))
        left = right
    return spans


def _held(spans: list[_Span], table: str) -> list[tuple[float, float, Lock]]:
    """Return from where to where which lock was held: to the end of its transaction, unless a stronger one came."""
    found: list[tuple[float, float, Lock]] = []
    for span in spans:
        lock = next((one for one in span.seen.held if one.relation == table and one.standing), None)
        if lock is None:
            continue
        if found and found[-1][2] == lock and found[-1][1] == span.left and not span.seen.outside:
            found[-1] = (found[-1][0], span.right, lock)
        else:
            found.append((span.left, span.right, lock))
    return found


def _lane(row: int, text: str) -> str:
    middle = HEAD + LANE * row + BAR / 2
    shown = text if len(text) <= 20 else text[:19] + "…"  # noqa: PLR2004 - what the margin holds
    return (
        f'<line class="lane" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle}" y2="{middle}"/>'
        f'<text class="name" x="{LEFT - 10}" y="{middle + 4}">{escape(shown)}</text>'
    )


def _bar(row: int, left: float, right: float, kind: str, text: str, told: str) -> str:
    top, width = HEAD + LANE * row, max(right - left - 1, 2)
    shown = escape(text) if width > len(text) * 6.5 else ""
    return (
        f'<g class="{kind}"><title>{escape(told)}</title>'
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        f'<text x="{left + width / 2:.1f}" y="{top + BAR - 4}">{shown}</text></g>'
    )


def _told(number: int, seen: Observation) -> str:
    return f"{number + 1}: {' '.join(seen.sql.split())[:200]} ({seen.duration_ms:.1f} ms)"


def waits(measured: Measured, window: Window, highest_ms: float) -> str:
    """Return how long the clients waited around one revision, the longest marked; time goes right, waits go up."""
    start, end = window.began_s - AROUND_S, window.ended_s + AROUND_S
    samples = [one for one in measured.samples if start <= one.at_s <= end]
    if not samples:
        return ""
    step = max(1, len(samples) // MOST_POINTS)
    longest = max(samples, key=lambda one: one.ms)
    highest = max(longest.ms, highest_ms, 10.0) * 1.6  # the same for every way, to compare them

    def across(at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at_s - start) / (end - start)

    def up(ms: float) -> float:
        share = math.log(max(ms, LEAST_MS) / LEAST_MS) / math.log(highest / LEAST_MS)
        return HEAD + PLOT - PLOT * share

    parts = [_applied(across(window.began_s), across(window.ended_s))]
    parts += [_tick(up(value), value) for value in TICKS if value <= highest]
    parts += _points(across, up, [one for number, one in enumerate(samples) if one.error or number % step == 0])
    parts.append(_mark(across(longest.at_s), across(longest.at_s + longest.ms / 1000), up(longest.ms), longest))
    took = window.ended_s - window.began_s
    parts.append(f'<text class="axis" x="{LEFT}" y="{HEAD + PLOT + 18}">{escape(measured.way)}: {took:.2f} s</text>')
    return _svg(HEAD + PLOT + FOOT, parts, f"Waits of clients while {measured.way} applied {window.label}")


def _applied(left: float, right: float) -> str:
    return f'<rect class="applied" x="{left:.1f}" y="{HEAD}" width="{right - left:.1f}" height="{PLOT}"/>'


def _tick(top: float, value: float) -> str:
    text = f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"  # noqa: PLR2004
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top:.1f}" y2="{top:.1f}"/>'
        f'<text class="name" x="{LEFT - 10}" y="{top + 4:.1f}">{text}</text>'
    )


def _points(across: Callable[[float], float], up: Callable[[float], float], samples: list[Sample]) -> list[str]:
    """Return the samples as one path of dots for each kind: thousands of shapes would make the page slow."""
    dots: dict[str, list[str]] = {"read": [], "write": [], "failed": []}
    for one in samples:
        kind = "failed" if one.error else "read" if one.kind == "read" else "write"
        dots[kind].append(f"M{across(one.at_s):.1f} {up(one.ms):.1f}h0")
    return [f'<path class="{kind}" d="{"".join(found)}"/>' for kind, found in dots.items() if found]


def _mark(left: float, right: float, top: float, one: Sample) -> str:
    """Mark the longest wait: a circle where it was sent, a line to where its answer came."""
    anchor = "end" if left > WIDTH / 2 else "start"
    shift = -8 if anchor == "end" else 8
    return (
        f'<line class="wait" x1="{left:.1f}" x2="{right:.1f}" y1="{top:.1f}" y2="{top:.1f}"/>'
        f'<circle class="longest" cx="{left:.1f}" cy="{top:.1f}" r="5"/>'
        f'<text class="said" text-anchor="{anchor}" x="{left + shift:.1f}" y="{max(top - 5, 10):.1f}">'
        f"{one.ms:.0f} ms, {escape(one.kind)} {escape(one.table)}</text>"
    )


def _svg(height: float, parts: list[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
