"""Outside transaction: statements that PostgreSQL takes in no transaction, and what each may take from a release.

Such a statement cannot be tried and taken back, so what it may do has to be known before it runs. This is the one list
of them. A statement that is not on it runs in a transaction of its own, or counts as unknown where the server refuses.
PostgreSQL decides it where its source calls PreventInTransactionBlock().
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Body = dict[str, Any]

# By these the server says that a statement cannot run in a transaction: it refuses the block (VACUUM), or what it calls
# wants to end the transaction itself (a procedure that commits).
REFUSES_A_TRANSACTION = {"25001", "2D000"}


class Takes(enum.Enum):
    """What a statement may take from a release that is live."""

    NOTHING = "nothing"
    ACCEPTED_WRITES = "writes that were accepted, where they are not unique"
    UPSERTS = "the unique index that an upsert names"
    ROWS = "rows, and the place for new ones"
    UNKNOWN = "what, nobody can say before it is done"


class Kind(NamedTuple):
    """One kind of statement; `sometimes` ones can run in a transaction too, by their options or their object."""

    words: str
    node: str
    takes: Takes
    why: str
    when: Callable[[Body], bool] = lambda _: True
    sometimes: bool = False


def _concurrently(body: Body) -> bool:
    return bool(body.get("concurrent"))


def _unique(body: Body) -> bool:
    return _concurrently(body) and bool(body.get("unique"))


def _detaches(body: Body) -> bool:
    return any(
        command.get("subtype") == "AT_DetachPartition" and command["def"]["PartitionCmd"].get("concurrent")
        for command in (item.get("AlterTableCmd", {}) for item in body.get("cmds", []))
    )


def _moves_database(body: Body) -> bool:
    return any(item.get("DefElem", {}).get("defname") == "tablespace" for item in body.get("options", []))


_SETTINGS = "it changes what every database of the server runs under"
_REPLICATION = "what another server sends, or does not send any more, is in no catalog"
KINDS: tuple[Kind, ...] = (
    Kind("CREATE UNIQUE INDEX CONCURRENTLY", "IndexStmt", Takes.ACCEPTED_WRITES, "it refuses what is not unique",
         _unique),
    Kind("CREATE INDEX CONCURRENTLY", "IndexStmt", Takes.NOTHING, "an index answers as the table does", _concurrently),
    Kind("DROP INDEX CONCURRENTLY", "DropStmt", Takes.UPSERTS, "ON CONFLICT needs a unique index to name",
         _concurrently),
    Kind("ALTER TABLE … DETACH PARTITION … CONCURRENTLY", "AlterTableStmt", Takes.ROWS, "its rows leave the table",
         _detaches),
    Kind("REINDEX", "ReindexStmt", Takes.NOTHING, "the same index, built anew", sometimes=True),
    Kind("VACUUM", "VacuumStmt", Takes.NOTHING, "only rows that nobody can see go", sometimes=True),
    Kind("CLUSTER", "ClusterStmt", Takes.NOTHING, "the same rows in another order", sometimes=True),
    Kind("CREATE DATABASE", "CreatedbStmt", Takes.NOTHING, "another database"),
    Kind("DROP DATABASE", "DropdbStmt", Takes.NOTHING, "another database: the server keeps the one that is in use"),
    Kind("ALTER DATABASE … SET TABLESPACE", "AlterDatabaseStmt", Takes.NOTHING,
         "another database: the server does not move the one that is in use", _moves_database),
    Kind("CREATE TABLESPACE", "CreateTableSpaceStmt", Takes.NOTHING, "a place where nothing is yet"),
    Kind("DROP TABLESPACE", "DropTableSpaceStmt", Takes.NOTHING, "the server keeps one that is in use"),
    Kind("ALTER SYSTEM", "AlterSystemStmt", Takes.UNKNOWN, _SETTINGS),
    Kind("CREATE SUBSCRIPTION", "CreateSubscriptionStmt", Takes.UNKNOWN, _REPLICATION, sometimes=True),
    Kind("ALTER SUBSCRIPTION", "AlterSubscriptionStmt", Takes.UNKNOWN, _REPLICATION, sometimes=True),
    Kind("DROP SUBSCRIPTION", "DropSubscriptionStmt", Takes.UNKNOWN, _REPLICATION, sometimes=True),
    Kind("DISCARD", "DiscardStmt", Takes.NOTHING, "it is of the session alone", sometimes=True),
)  # fmt: skip

# What is not on the list, and the server refuses to run in a transaction.
UNKNOWN = Kind("", "", Takes.UNKNOWN, "it ends transactions itself, so that it cannot be tried and looked at first")
UNREAD = Kind("", "", Takes.UNKNOWN, "PostgreSQL's grammar as it is known here cannot read it")


def known(node: str, body: Body) -> Kind | None:
    """Return the kind of a parsed statement that runs, or may have to run, outside of any transaction."""
    return next((kind for kind in KINDS if kind.node == node and kind.when(body)), None)
