"""Rules about tables, views and partitions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.contract.footprint.scene import BREAKS, UNKNOWN, Match, Rule, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.contract.footprint.things import Change, Thing

WORDS = {"r": "a table", "p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
_SEEN = {"v", "m"}


def _replaced(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and before.oid != after.oid and (scene.is_met(before.oid) or scene.is_met(after.oid)):
        if before["kind"] in _SEEN and before["kind"] == after["kind"]:
            return  # a view is what it shows
        yield Match(
            after, WORDS.get(before["kind"] or "", "it"), f"{WORDS.get(after['kind'] or '', 'it')} made anew", after.oid
        )


def _view(_scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not (before and after and before["kind"] in _SEEN and after["kind"] in _SEEN):
        return
    if change.differs("definition"):
        yield Match(after, "the rows that it showed", "another definition", after.oid)


def _view_gone(scene: Scene, change: Change) -> Iterator[Match]:
    if change.after is None and change.before and change.before["kind"] in _SEEN:
        if not scene.is_mapped(change.before.oid) and scene.may(change.before, "r"):
            yield Match(change.before, "the view, if it reads it", "nothing of that name", change.before.oid)


def _met_gone(scene: Scene, change: Change) -> Iterator[Match]:
    before = change.before
    if change.after is None and before and before["kind"] not in _SEEN and not scene.is_mapped(before.oid):
        if before["parents"] and scene.is_child(before.oid):
            return
        if before.oid in scene.reach_before.relations:
            yield Match(before, "what is behind its tables", "nothing of that name", before.oid)
        elif scene.reach_before.blind and before["persistence"] != "t":
            unread = f"{scene.reach_before.blind[0]}(), whose SQL is made up as it runs, to find it if it names it"
            yield Match(before, unread, "nothing of that name", before.oid)


def _empty(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if (
        after
        and after["kind"] == "m"
        and not after.is_("populated")
        and (scene.is_mapped(after.oid) or scene.may(after, "r"))
    ):
        if change.before is None or change.before.is_("populated") or change.before["kind"] != "m":
            if change.before is not None:
                yield Match(after, "to read it", "a materialized view that was not filled", after.oid)


def _partition_gone(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if (
        before
        and before["parents"]
        and scene.is_child(before.oid)
        and (after is None or after["parents"] != before["parents"])
        and not _still(scene, before)
    ):
        yield Match(
            before, "the rows of this partition, and a place for new ones", "another tree of partitions", before.oid
        )


def _still(scene: Scene, partition: Thing) -> bool:
    """Tell whether it is a partition of the same under another name: rows find it by their values."""
    there = scene.after.relations.get(partition.oid)
    return there is not None and there["parents"] == partition["parents"] and there["bound"] == partition["bound"]


def _bound(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if before and after and scene.is_met(after.oid) and before["parents"] and before["parents"] == after["parents"]:
        if change.differs("bound"):
            yield Match(after, "the rows that this partition took", f"{after['bound']}", after.oid)


def _child(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not after["parents"] or (change.before and change.before["parents"] == after["parents"]):
        return
    parents = [scene.after.relations.get(int(one)) for one in after["parents"].split()]
    if any(one is not None and one["kind"] != "p" and scene.is_met(one.oid) for one in parents):
        yield Match(after, "its own rows alone", "those of a table that inherits from it as well", after.oid)


def _security(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if not (before and after and scene.is_met(after.oid)):
        return
    if change.differs("row_security", "forced") and not scene.is_mapped(after.oid):
        yield Match(after, "all rows behind its tables", "row level security", after.oid)
    if change.differs("silenced"):
        yield Match(after, "its foreign keys to hold", "triggers of foreign keys enabled or disabled", after.oid)


def _published(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is None or not scene.is_met(after.oid) or after["kind"] not in {"r", "p"}:
        return
    words = (after["published"] or "").split()
    if "t" in words and not after.is_("identified"):
        before = change.before
        if before is None or before.is_("identified") or before["published"] != after["published"]:
            offers = "a publication of it, and no replica identity that it can tell rows by"
            # What is only behind its tables is perhaps only inserted into.
            verdict = "" if scene.is_mapped(after.oid) else UNKNOWN
            yield Match(after, "to UPDATE and DELETE", offers, after.oid, verdict=verdict)


def _rights(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    lost = scene.lost(before, after)
    if not lost or after is None or scene.is_mapped(after.oid) or (after["bound"] and scene.is_child(after.oid)):
        return  # of what it maps the contract tells, and a partition is reached by its parent's rights
    seen = after["kind"] in _SEEN
    if after.oid in scene.reach_before.relations or seen:
        who = ", ".join(scene.roles[role] for role in lost)
        yield Match(
            after,
            "its rights on what is behind its tables" if not seen else "to read the view",
            f"fewer for {who}",
            after.oid,
        )


def _attached(scene: Scene, change: Change) -> Iterator[Match]:
    """Find a partition that rows go to from now on and that refuses or changes some of them."""
    before, after = change.before, change.after
    if after is None or not after["parents"] or (before and before["parents"] == after["parents"]):
        return
    parents = [int(one) for one in after["parents"].split() if scene.is_met(int(one))]
    if not parents:
        return
    own = [] if before is None else list(_own(scene, after.oid, parents))
    if after["kind"] == "p" and not any(
        one["bound"] == "DEFAULT" or (one["bound"] or "").startswith("FOR VALUES WITH")
        for one in scene.after.relations.values()
        if str(after.oid) in (one["parents"] or "").split()
    ):
        own.append("no partition for every row")
    if after["kind"] == "f":
        own.append("another server")
    if own:
        yield Match(after, "a place for the rows that go to it", ", ".join(own), after.oid)


def _own(scene: Scene, oid: int, parents: list[int]) -> Iterator[str]:
    """Give the limits and triggers of a partition that none of its parents has."""
    kinds = ("constraint", "index", "trigger")
    theirs = {
        (kind, one["definition"]) for parent in parents for kind in kinds for one in scene.after.those(kind, parent)
    }
    for kind in kinds:
        for one in scene.after.those(kind, oid):
            refuses = kind == "trigger" or (
                one["type"] in {"c", "f", "x"} if kind == "constraint" else one.is_("unique")
            )
            if refuses and (kind, one["definition"]) not in theirs:
                yield f"its own {kind} {one.name}"


def _unlogged(scene: Scene, change: Change) -> Iterator[Match]:
    after = change.after
    if after is not None and change.differs("persistence") and after["persistence"] == "u" and scene.is_met(after.oid):
        yield Match(after, "its rows after a crash, and on replicas", "an unlogged table", after.oid)


def _reopened(scene: Scene, change: Change) -> Iterator[Match]:
    before, after = change.before, change.after
    if (
        before
        and after
        and change.differs("options")
        and after["kind"] == "v"
        and (scene.is_met(after.oid) or scene.may(after, "r"))
    ):
        yield Match(after, "the rights that it is read with", f"{after['options'] or 'no options'}", after.oid)


RULES = (
    Rule(
        "relation-replaced", UNKNOWN, "A table made anew under its name",
        "Triggers, foreign keys, defaults, rights and numbers were those of the old one; a view in a table's place takes "
        "no GROUP BY by key and no ON CONFLICT ON CONSTRAINT.",
        "change the table in place; or try the release on it before it goes out", ("relation",), _replaced,
        bad="ALTER TABLE marks RENAME TO marks_all; CREATE VIEW marks AS SELECT * FROM marks_all",
        good="ALTER TABLE notes ADD COLUMN more text",
    ),
    Rule(
        "view-changed", UNKNOWN, "A view that shows something else",
        "Its columns are the same, what is in them need not be.",
        "give the new view a name of its own", ("relation",), _view,
        bad="CREATE OR REPLACE VIEW big_orders AS SELECT id, amount FROM orders WHERE amount > 10",
        good="CREATE VIEW bigger_orders AS SELECT id, amount FROM orders WHERE amount > 10",
    ),
    Rule(
        "view-options", UNKNOWN, "A view read with other rights",
        "With security_invoker it is the app's role that needs the rights on the tables beneath.",
        "grant them first, and try it", ("relation",), _reopened,
        bad="ALTER VIEW big_orders SET (security_barrier = true)",
        good="COMMENT ON VIEW big_orders IS 'x'",
    ),
    Rule(
        "view-gone", UNKNOWN, "A view that nothing maps is gone",
        "Models need not map a view to read it.",
        "drop it once no live release reads it", ("relation",), _view_gone,
        bad="DROP VIEW big_orders", good="CREATE VIEW more AS SELECT 1 AS one",
    ),
    Rule(
        "behind-gone", UNKNOWN, "A table behind a release's tables is gone",
        "A trigger, a view or a foreign key led to it.",
        "drop what leads to it first", ("relation",), _met_gone,
        bad="DROP TABLE log", good="CREATE TABLE more (id int)",
    ),
    Rule(
        "view-empty", BREAKS, "A materialized view that was not filled",
        "Reading it is an error until it was refreshed.",
        "refresh it in the same revision", ("relation",), _empty,
        bad="REFRESH MATERIALIZED VIEW totals WITH NO DATA", good="REFRESH MATERIALIZED VIEW totals",
    ),
    Rule(
        "partition-gone", UNKNOWN, "A partition is gone",
        "Its rows are not found any more, and new ones for it are refused or go elsewhere.",
        "detach it once no live release reads its rows", ("relation",), _partition_gone,
        bad="ALTER TABLE events DETACH PARTITION events_old",
        good="CREATE TABLE events_new PARTITION OF events FOR VALUES IN ('new')",
    ),
    Rule(
        "partition-moved", UNKNOWN, "A partition takes other rows",
        "", "keep the bounds", ("relation",), _bound,
        bad="ALTER TABLE events DETACH PARTITION events_old; "
        "ALTER TABLE events ATTACH PARTITION events_old FOR VALUES IN ('older')",
    ),
    Rule(
        "partition-attached", UNKNOWN, "A partition that refuses rows of its own accord", "Its constraints and triggers count for every row that goes to it.",
        "take off what the parent has not, before it is attached", ("relation",), _attached,
        bad="ALTER TABLE events ATTACH PARTITION events_by_hand FOR VALUES IN ('new')",
        good="ALTER TABLE events_by_hand DROP CONSTRAINT own; ALTER TABLE events ATTACH PARTITION events_by_hand FOR VALUES IN ('new')",
    ),
    Rule(
        "child-added", UNKNOWN, "A table that inherits from it",
        "Every statement on the table sees the rows of the other as well.",
        "use a table of its own", ("relation",), _child,
        bad="CREATE TABLE notes_more () INHERITS (notes)", good="CREATE TABLE notes_more (LIKE notes)",
    ),
    Rule(
        "behind-guarded", UNKNOWN, "Row security or silenced triggers behind its tables",
        "", "try the release on it before it goes out", ("relation",), _security,
        bad="ALTER TABLE items DISABLE TRIGGER ALL", good="ALTER TABLE orders SET (fillfactor = 90)",
    ),
    Rule(
        "no-replica-identity", BREAKS, "A published table without a replica identity",
        "UPDATE and DELETE on it are errors.",
        "give it a primary key or a REPLICA IDENTITY first", ("relation",), _published,
        bad="CREATE PUBLICATION p FOR TABLE log",
        good="CREATE PUBLICATION p FOR TABLE notes",
    ),
    Rule(
        "unlogged", UNKNOWN, "A table that is not logged any more", "A crash of the server empties it, and a replica cannot read it.",
        "leave it logged", ("relation",), _unlogged,
        bad="ALTER TABLE notes SET UNLOGGED", good="CREATE UNLOGGED TABLE more (id int)",
    ),
    Rule(
        "behind-closed", UNKNOWN, "Rights on what is behind its tables",
        "A trigger's function runs with the rights of whoever writes, unless it is SECURITY DEFINER.",
        "grant them again in the same revision", ("relation",), _rights,
        bad="REVOKE INSERT ON log FROM app_role", good="GRANT INSERT ON log TO app_role",
    ),
)  # fmt: skip
