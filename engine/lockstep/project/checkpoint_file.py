"""Checkpoint file: read and write the text of a checkpoint; refuse one that was edited.

It imports next to nothing, for an upgrade of an empty database reads it before anything large is loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from lockstep.errors import Refused, Usage

if TYPE_CHECKING:
    from os import PathLike

FORMAT = 1
NAME = "checkpoint.sql"  # beside env.py
NONE = "none"
ANEW = "`migrator checkpoint` writes it anew"
_HEAD = """\
-- What all revisions up to the heads named below lead to, as `migrator checkpoint` replayed them from nothing:
-- `migrator upgrade` loads it into an empty database. Read it like code, but do not edit it.
"""
_SEALS = "\n-- The revisions it stands for, and the columns whose values each database gets of its own.\n"
_NOTE = re.compile(r"-- (\w+) (.*)")
_SERVER = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


class Checkpoint(NamedTuple):
    """One checkpoint: `seals` in the order the revisions were applied; `own` are columns left to their defaults."""

    server: int
    heads: tuple[str, ...]
    seals: dict[str, str]
    sql: str
    own: tuple[str, ...] = ()
    digest: str = ""

    @property
    def head(self) -> str:
        """Return the last revision it stands for; the version table may name those it depends on as well."""
        return list(self.seals)[-1]


def path(given: str, beside: str) -> str:
    """Return the file that is to be used: the one named, else the one beside env.py; '' where there is none."""
    if given == NONE:
        return ""
    chosen = given or os.path.join(beside, NAME)  # noqa: PTH118 - pathlib costs milliseconds
    if os.path.isfile(chosen):  # noqa: PTH113 - pathlib's raises for a name that is too long
        return chosen
    if given:
        raise Usage(f"no checkpoint at {given}", "give the path of a file that `migrator checkpoint` wrote, or none")
    return ""


def text(made: Checkpoint) -> str:
    """Return the text of a checkpoint, its digest in the first lines."""
    head = f"-- format {FORMAT}\n-- server {made.server}\n-- heads {' '.join(made.heads)}\n"
    seals = "".join(f"-- seal {revision} {seal}\n" for revision, seal in made.seals.items())
    own = "".join(f"-- own {column}\n" for column in made.own)
    rest = f"{head}\n{made.sql.strip()}\n{_SEALS}{seals}{own}"
    return f"{_HEAD}-- digest {_digest(rest)}\n{rest}"


def read(place: str | PathLike[str]) -> Checkpoint:
    """Return the checkpoint in a file; raise Refused for one that is not as it was written."""
    name = os.path.basename(place)  # noqa: PTH119 - as above
    try:
        with open(place, "rb") as opened:  # noqa: PTH123
            written = opened.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the checkpoint {name} cannot be read: {error}", ANEW) from None
    # A checkout may have given the lines other ends; a text that holds both kinds is told by its digest.
    for candidate in (written, written.replace("\r\n", "\n")):
        found = _parsed(candidate)
        if found:
            return found
    raise Refused(f"the checkpoint {name} was edited or cut off since it was written", ANEW)


def _parsed(written: str) -> Checkpoint | None:
    _, mark, rest = written.partition("-- digest ")
    digest, _, rest = rest.partition("\n")
    if not mark or digest != _digest(rest):
        return None
    head, _, rest = rest.partition("\n\n")
    sql, _, tail = rest.rpartition(_SEALS)
    notes = dict(_NOTE.findall(head))
    if notes.get("format") != str(FORMAT):
        said = notes.get("format", "")[:20]
        raise Refused(f"the checkpoint is of format {said!r}, which this migrator does not know", ANEW)
    seals, own = {}, []
    for kind, value in _NOTE.findall(tail):
        if kind == "seal":
            revision, _, seal = value.rpartition(" ")
            seals[revision] = seal
        else:
            own.append(value)
    heads, server = tuple(notes.get("heads", "").split()), notes.get("server", "")
    whole = bool(_SERVER.fullmatch(server) and seals and all(seals)) and len(set(heads)) == len(heads)
    if not whole or not set(heads) <= set(seals) or list(seals)[-1] not in heads:
        return None
    return Checkpoint(int(server), heads, seals, sql, tuple(own), digest)


def _digest(rest: str) -> str:
    return "sha256:" + hashlib.sha256(rest.encode()).hexdigest()
