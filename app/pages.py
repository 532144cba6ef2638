"""Pages: the query string of a list in, where to go on and how far out.

Keyset pagination: a page begins after the last id of the page before, so rows that come or go in between neither
repeat nor hide others, and the last page costs as little as the first.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from app.bodies import BIGINT_MAX
from app.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.datastructures import QueryParams

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
CURSOR_BYTES = 8


@dataclass(frozen=True)
class Page:
    """Which rows of a list are asked for."""

    after: int
    limit: int
    equal: Mapping[str, int]


def read(query: QueryParams, *, table: str, filters: Collection[str]) -> Page:
    """Return the page that `query` asks for, or raise a Problem that names the parameter that is wrong."""
    names = [name for name, _ in query.multi_items()]
    for name in names:
        if name not in ("limit", "cursor", *filters):
            raise _bad(f"there is no parameter {name[:80]!r}")
        if names.count(name) > 1:
            raise _bad(f"the parameter {name!r} is given more than once")
    limit = whole_number(query.get("limit", str(DEFAULT_LIMIT)), most=MAX_LIMIT)
    if limit is None:
        raise _bad(f"limit is a whole number from 1 to {MAX_LIMIT}")
    equal = {name: whole_number(query[name]) for name in filters if name in query}
    for name, value in equal.items():
        if value is None:
            raise _bad(f"{name} is the id of a row")
    after = _decode(query["cursor"], table) if "cursor" in query else 0
    return Page(after=after, limit=limit, equal={name: value for name, value in equal.items() if value is not None})


def whole_number(text: str, *, most: int = BIGINT_MAX) -> int | None:
    """Return the number from 1 to `most` that `text` writes in plain digits, else None."""
    if re.fullmatch(r"[1-9][0-9]{0,18}", text) and int(text) <= most:
        return int(text)
    return None


def cursor(last_id: int, *, table: str) -> str:
    """Return the opaque mark of the place after the row `last_id`; it holds for this table only."""
    raw = last_id.to_bytes(CURSOR_BYTES, "big") + table.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str, table: str) -> int:
    """Return the id in a cursor of ours; whatever we would not have written ourselves is refused."""
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    last_id = int.from_bytes(raw[:CURSOR_BYTES], "big")
    if not 1 <= last_id <= BIGINT_MAX or cursor(last_id, table=table) != text:
        raise _bad("this cursor is not one that this list gave")
    return last_id


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)
