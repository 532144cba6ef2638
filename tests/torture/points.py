"""Points: what an undisturbed run sends in; where it is to be cut out, each cut once.

Left out is only what is another point once more, or none at all:

- a SIGKILL before a statement that changes nothing: the process is gone, and the server is as it was after the last
  statement that changed something, where a SIGKILL is a point;
- the end of all backends where the migrator has opened one connection only: it is the end of that one;
- the end of the other backends while there are none, and of a backend that is not known yet: nothing happens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.torture.faults import FAULTS
from tests.torture.proxy import AFTER, CONNECT

_SESSION = re.compile(
    r"(SELECT|WITH|SHOW|SET|RESET|BEGIN|PREPARE|DEALLOCATE|EXECUTE|EXPLAIN( \(FORMAT JSON\))? SELECT)\b"
    r"|ROLLBACK$|DISCARD ALL$",
    re.IGNORECASE,
)
# What makes a change of what begins like a question.
_CHANGE = re.compile(
    r"\b(INSERT|UPDATE|DELETE|MERGE|INTO|nextval|setval|(pg_|txid_)\w*(advisory|terminate|cancel|snapshot)\w*)\b",
    re.IGNORECASE,
)
_TEXT = re.compile(r"'[^']*'")
_PREPARED = re.compile(r"PREPARE (\w+)", re.IGNORECASE)
_EXECUTED = re.compile(r"EXECUTE (\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Point:
    """One crash point: statement `number` of a kind of run, and what happens there."""

    kind: str
    number: int
    text: str
    fault: int

    def __str__(self):
        fault = FAULTS[self.fault]
        return f"{self.kind}: {fault.name} {fault.when} statement {self.number} ({self.text[:90]})"


def of(kind, sent):
    """Return every crash point of a kind that sends these statements."""
    changing = _changing([statement.text for statement in sent])
    return [
        Point(kind, statement.number, statement.text, place)
        for place, fault in enumerate(FAULTS)
        for statement, changes in zip(sent, changing, strict=True)
        if (changes or fault.everywhere) and not _nothing(fault, statement, sent)
    ]


def _changing(texts):
    """Return for each statement whether it may change anything outside of its session."""
    texts = [_TEXT.sub("''", text) for text in texts]
    prepared = {name: bool(_CHANGE.search(text)) for text in texts for name in _PREPARED.findall(text)[:1]}
    return [any(_changes(part.strip(), prepared) for part in text.split(";")) for text in texts]


def _changes(part, prepared):
    if not part:
        return False
    if not _SESSION.match(part):
        return True
    if part[:7].upper() == "PREPARE":
        return False
    if part[:7].upper() == "EXECUTE":
        return prepared.get(_EXECUTED.findall(part)[0], True)
    return bool(_CHANGE.search(part))


def _nothing(fault, statement, sent):
    """Return whether nothing would happen, or what another fault does."""
    if fault.others and max(one.connection for one in sent[: statement.number]) == 1:
        return True
    return fault.this and statement.text == CONNECT and fault.when != AFTER
