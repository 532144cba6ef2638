"""Manifest: what a run with nothing to do has to know of a project's revisions, without loading Alembic or one of them.

Any project has one. An image's build writes it beside the configuration; everywhere else the run that had to look
itself leaves it in the user's cache, under a name made of the configuration's path. It is believed only while names,
sizes and times of all files it was made from are as they were, or their bytes are; in doubt it is as if it were not
there, and the files themselves are read.
"""

from __future__ import annotations

import contextlib
import json
import os
from binascii import crc32
from typing import TYPE_CHECKING, NamedTuple

from lockstep import __version__

if TYPE_CHECKING:
    from lockstep.settings import Settings

FORMAT = f"manifest 5 of {__version__}"
NAME = "versions.manifest"  # beside the configuration, in an image
CACHE = "lockstep"  # the directory in the user's cache
_ABSENT = "absent"
_PASSING = {"_", "COLUMNS", "DATABASE_URL", "LINES", "OLDPWD", "PWD", "SHLVL"}


class Manifest(NamedTuple):
    """What a project's files lead to."""

    heads: tuple[str, ...]
    seals: str  # a digest of the seals of all revisions
    models: str  # a digest of the models; '' where there are none
    ledger: int  # the version of the ledger that was known then
    contract: str  # JSON: what the models need
    revisions: str  # JSON: the history
    directory: str  # that of env.py, as seen from the configuration
    hands_over: bool  # whether env.py is the engine's own
    version_table: str | None  # where env.py has Alembic's; '' for one of the usual two, None where nobody can tell


class Sources(NamedTuple):
    """All that a manifest is made from, by paths as seen from the configuration."""

    files: list[str]
    places: list[tuple[str, bool]]  # each directory of revisions, and whether those below it count
    working_directory: str | None  # where a path of the configuration is as seen from there
    environment: int | None  # where env.py may decide by a variable: the digest of all of them
    asked: str  # what flags, variables and the configuration say of the project


def of(settings: Settings) -> Manifest | None:
    """Return the manifest of the project that a run is on; None where there is none, or any doubt is left."""
    return read(settings.config, asked(settings))


def asked(settings: Settings) -> str:
    """Return what was said of a project besides its files, paths as seen from its configuration."""
    beside = os.path.dirname(settings.config)  # noqa: PTH120
    files = (settings.models, settings.contract)
    paths = [os.path.relpath(path, beside) if path.startswith(os.sep) else path for path in files]
    return repr((*paths, settings.section, settings.x, settings.app))


def read(config: str, asked: str | None = None) -> Manifest | None:
    """Return the manifest of a configuration if it is of the files as they are now; None where any doubt is left."""
    if not config:
        return None
    for path in (baked(config), cached(config)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = _parsed(path)
            # An image may be built at another place than it runs at; its manifest lies beside the configuration.
            mine = found["config"] == config or (path == baked(config) and _name(found["config"]) == _name(config))
            if mine and asked in (None, found["asked"]) and _is_of_these(config, found):
                return Manifest(*(tuple(found["heads"]), *(found[name] for name in Manifest._fields[1:])))
    return None


def sealed(config: str) -> dict[str, str]:
    """Return the seals that are known by the digests of files: true of those files also where others changed since."""
    for path in (baked(config), cached(config)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return dict(_parsed(path)["sealed"])
    return {}


def baked(config: str) -> str:
    """Return where an image holds the manifest of a configuration."""
    return os.path.join(os.path.dirname(config), NAME)  # noqa: PTH118, PTH120 - pathlib costs milliseconds


def cached(config: str) -> str:
    """Return where the user's cache holds it; '' for a user who has no cache."""
    home = os.environ.get("HOME")
    top = os.environ.get("XDG_CACHE_HOME") or (os.path.join(home, ".cache") if home else "")  # noqa: PTH118
    # The name only keeps projects apart: each says itself of which configuration it is.
    name = f"{crc32(config.encode(errors='surrogateescape')):08x}-{len(config)}.manifest"
    return os.path.join(top, CACHE, name) if os.path.isabs(top) else ""  # noqa: PTH117, PTH118


def text(config: str, sources: Sources, known: Manifest, *, written: int, sealed_files: dict[str, str]) -> str:
    """Return a manifest as it is kept: a first line that tells damage, and JSON."""
    lines, _ = listed(config, sources)
    body = json.dumps({
        "config": config, "written": written, **sources._asdict(), **known._asdict(), "sealed": sealed_files,
        "listed": lines, "digests": [_digest(at(config, line.split("\t")[0])) for line in lines],
    })  # fmt: skip
    return f"{FORMAT} {crc32(body.encode()):08x}\n{body}"


def _parsed(path: str) -> dict[str, object]:
    """Return what a file holds; raise OSError or ValueError where it is none of ours, or damaged."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        head, _, body = file.read().partition("\n")
    if head != f"{FORMAT} {crc32(body.encode()):08x}":
        raise ValueError(path)
    return dict(json.loads(body))


def _is_of_these(config: str, found: dict[str, object]) -> bool:
    """Compare names, sizes and times; where a time differs, or is too fresh to tell, the bytes decide."""
    sources = Sources(*(found[name] for name in Sources._fields))
    if sources.working_directory not in (None, os.getcwd()):  # noqa: PTH109
        return False
    if sources.environment not in (None, environment()):
        return False
    now, newest = listed(config, sources)
    written, was = int(found["written"]), found["listed"]
    # A file changed in the very second the manifest was written would show no other time.
    if newest < written and now == was:
        return True
    lines = zip(was, now, found["digests"], strict=True)
    return all(_is_the_same(config, written, *line) for line in lines)


def _is_the_same(config: str, written: int, was: str, now: str, digest: str) -> bool:
    name, size, changed = now.split("\t")
    if [name, size] != was.split("\t")[:2]:
        return False
    return (now == was and int(changed) < written) or _digest(at(config, name)) == digest


def listed(config: str, sources: Sources) -> tuple[list[str], int]:
    """Return 'name, size, time' of each file a run depends on, and the newest time.

    In whole seconds: an image's layers keep no more. Thousands of files: every call in the loop counts.
    """
    lines, newest = [], 0
    for name in sources.files:
        try:
            found = os.stat(at(config, name))  # noqa: PTH116
        except FileNotFoundError:
            lines.append(f"{name}\t{_ABSENT}\t0")
            continue
        lines.append(f"{name}\t{found.st_size}\t{int(found.st_mtime)}")
        newest = max(newest, int(found.st_mtime))
    for place, with_those_below in sources.places:
        newest = max(newest, _list(config, place, lines, deep=with_those_below))
    return lines, newest


def _list(config: str, place: str, lines: list[str], *, deep: bool) -> int:
    """Add the lines of a directory of revisions; whatever is in it may be one. Return the newest time."""
    newest = 0
    below: list[str] = []
    mine: list[str] = []
    with os.scandir(at(config, place)) as entries:
        for entry in entries:
            if entry.is_dir():
                if deep and entry.name != "__pycache__" and not entry.is_symlink():
                    below.append(entry.name)
                continue
            found = entry.stat()
            changed = int(found.st_mtime)
            mine.append(f"{place}/{entry.name}\t{found.st_size}\t{changed}")
            newest = max(newest, changed)
    lines += sorted(mine)
    return max([newest, *(_list(config, f"{place}/{name}", lines, deep=True) for name in sorted(below))])


def environment() -> int:
    """Return a digest of all variables that are not ours, nor a shell's own."""
    theirs = sorted(
        item for item in os.environ.items() if item[0] not in _PASSING and not item[0].startswith("MIGRATOR_")
    )
    return crc32(repr(theirs).encode(errors="surrogateescape"))


def _name(config: object) -> str:
    return os.path.basename(str(config))  # noqa: PTH119


def at(config: str, name: str) -> str:
    """Return a path that is given as seen from the configuration."""
    return os.path.join(os.path.dirname(config), name)  # noqa: PTH118, PTH120


def _digest(path: str) -> str:
    import hashlib  # noqa: PLC0415 - only where there is doubt

    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return _ABSENT


def digest_of(seals: dict[str, str]) -> str:
    """Return one digest over the seals of revisions, whatever their order."""
    import hashlib  # noqa: PLC0415

    lines = "\n".join(f"{revision} {seal}" for revision, seal in sorted(seals.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
