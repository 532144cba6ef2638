"""Statements: what the runner has to know of an SQL text, by PostgreSQL's own grammar (pgparse)."""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any, NamedTuple

from lockstep.postgres import outside_transaction

# SQLAlchemy hands the driver's placeholders over; the grammar knows only $1.
_PLACEHOLDER = re.compile(r"%\((?:[^)]+)\)s|%s")
_READS = {"VariableShowStmt", "VariableSetStmt", "ExplainStmt", "SelectStmt"}
_SETS = {"VariableShowStmt", "VariableSetStmt"}
_WRITES = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
# In this order: what may hold a quote that opens no literal comes first. An end may be missing: the server cuts texts.
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|$)            # comments
    |(?P<name>"(?:[^"]|"")*(?:"|$))       # quoted names, which stay
    |\$(?P<tag>[^\W\d]\w*)?\$.*?(?:\$(?(tag)(?P=tag))\$|$)
    |\b[eE]'(?:[^'\\]|''|\\.)*(?:'|$)
    |'(?:[^']|'')*(?:'|$)
    |\b\d+(?:\.\d+)?\b""",
    re.VERBOSE | re.DOTALL,
)


# As in SQLAlchemy's TextClause and its compiler: a property test holds them to that.
_COLON = re.compile(":")
_BIND = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")
_ESCAPED = re.compile(r"\\(:\w*)(?![:\w])")


class Statement(NamedTuple):
    """What one text sent to the server is: `patient` ones do not block clients while they wait or work.

    `outside` is what runs, or may have to run, outside of any transaction; `several` are more than one statement.
    """

    sql: str
    digest: str
    reads: bool = False
    patient: bool = False
    ends_transaction: bool = False
    creates_index: str | None = None
    reindexes: bool = False
    transactional: bool = False
    sets: bool = False
    locks_rows: bool = False
    several: bool = False
    outside: outside_transaction.Kind | None = None
    node: tuple[str, dict[str, Any]] | None = None


@functools.lru_cache(maxsize=256)
def parse(sql: str) -> Statement:
    """Return what a text of one or more statements is; a text the grammar does not know is taken as one that blocks."""
    digest = hashlib.sha256(sql.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    nodes = _nodes(sql)
    if not nodes:
        # One statement of a newer grammar cannot hold a COMMIT among others.
        one = ";" not in _TOKEN.sub("", sql).strip().rstrip(";")
        return Statement(sql, digest, outside=None if one else outside_transaction.UNREAD)
    kinds = [kind for kind, _ in nodes]
    index = next((body for kind, body in nodes if kind == "IndexStmt"), {})
    relation = index.get("relation", {})
    name = index.get("idxname")
    return Statement(
        sql,
        digest,
        reads=all(_reads(kind, body) for kind, body in nodes),
        patient=all(_patient(kind, body) for kind, body in nodes),
        ends_transaction=any(_ends_transaction(kind, body) for kind, body in nodes),
        creates_index=".".join(quoted(part) for part in (relation.get("schemaname"), name) if part) if name else None,
        reindexes="ReindexStmt" in kinds,
        transactional=all(_transactional(kind, body) for kind, body in nodes),
        sets=_SETS.issuperset(kinds),
        locks_rows=_holds([body for _, body in nodes], {"LockingClause"}),
        several=len(nodes) > 1,
        outside=outside_transaction.known(*nodes[0]) if len(nodes) == 1 else None,
        node=nodes[0] if len(nodes) == 1 else None,
    )


def without_literals(sql: str, width: int = 80) -> str:
    """Return a statement of somebody else in one short line with its literals taken out: they may be secrets."""
    return shortened(_TOKEN.sub(_without_literal, sql), width)


def _without_literal(token: re.Match[str]) -> str:
    if token["name"]:
        return token[0]
    return "" if token[0].startswith(("--", "/*")) else "?"


def shortened(sql: str, width: int = 100) -> str:
    """Return a statement in one line of at most `width` characters."""
    line = " ".join(sql.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def unbound(sql: str) -> str:
    """Return a statement in which `sa.text()` sees no bind parameter and takes no backslash away."""
    return _COLON.sub(_kept, sql)


def _kept(colon: re.Match[str]) -> str:
    # What SQLAlchemy would take for a bind parameter, and the backslash that it would take for an escape of one.
    text, place = colon.string, colon.start()
    taken = _BIND.match(text, place) or (place and _ESCAPED.match(text, place - 1))
    return "\\:" if taken else ":"


def _nodes(sql: str) -> list[tuple[str, dict[str, Any]]]:
    import pgparse  # noqa: PLC0415 - a run with nothing to do never needs it

    try:
        return [next(iter(node["stmt"].items())) for node in pgparse.parse(_PLACEHOLDER.sub("$1", sql))]
    except (pgparse.PGQueryError, ValueError):
        return []


def _reads(kind: str, body: dict[str, Any]) -> bool:
    return kind in _READS and "intoClause" not in body and not _holds(body, _WRITES)


def _holds(node: Any, kinds: set[str]) -> bool:
    """Tell whether a node of one of these kinds is anywhere below: WITH may hold a DELETE, EXPLAIN ANALYZE runs one."""
    if isinstance(node, dict):
        return any(key in kinds or _holds(value, kinds) for key, value in node.items())
    return isinstance(node, list) and any(_holds(item, kinds) for item in node)


def _ends_transaction(kind: str, body: dict[str, Any]) -> bool:
    savepoints = {"TRANS_STMT_SAVEPOINT", "TRANS_STMT_RELEASE", "TRANS_STMT_ROLLBACK_TO"}
    return kind == "TransactionStmt" and body.get("kind") not in savepoints


def _transactional(kind: str, body: dict[str, Any]) -> bool:
    """Tell whether a statement shares a transaction for certain: what DO and CALL run may want to commit."""
    return kind not in {"CallStmt", "DoStmt"} and outside_transaction.known(kind, body) is None


def _patient(kind: str, body: dict[str, Any]) -> bool:
    if kind in {"IndexStmt", "DropStmt", "RefreshMatViewStmt"}:
        return bool(body.get("concurrent"))
    if kind == "ReindexStmt":
        return any(item.get("DefElem", {}).get("defname") == "concurrently" for item in body.get("params", []))
    if kind == "AlterTableStmt":
        return all(_patient_part(item.get("AlterTableCmd", {})) for item in body.get("cmds", []))
    if kind == "VacuumStmt":
        full = any(item.get("DefElem", {}).get("defname") == "full" for item in body.get("options", []))
        return not full
    return kind == "AlterEnumStmt"


def _patient_part(command: dict[str, Any]) -> bool:
    if command.get("subtype") == "AT_ValidateConstraint":
        return True
    partition = command.get("def", {}).get("PartitionCmd", {})
    return command.get("subtype") == "AT_DetachPartition" and bool(partition.get("concurrent"))
