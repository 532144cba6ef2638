"""Rules about how a rehearsal ended: what failed, what did not end, what does not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.scene import Match, Rule, Scene
from lockstep.project.broken_python import is_broken
from lockstep_gate import sqlstate

if TYPE_CHECKING:
    from collections.abc import Iterator

VIOLATIONS = "23"  # SQLSTATE class: integrity constraint violation
SHOWN = 6  # lines of a difference


def _required(scene: Scene) -> Iterator[Match]:
    failed = scene.failed
    if failed and failed[1].sqlstate == sqlstate.NOT_NULL_VIOLATION and failed[1].kind == "AlterTableStmt":
        yield Match(
            failed[0],
            f"a column that may not be NULL has no value for the rows that are there: {failed[1].error}",
            "it fails on any table that holds a row",
            'op.add_column("…", sa.Column("…", …, nullable=True))  # or with a server_default\n'
            "# fill old rows in batches; then NOT NULL as not-null-scans-table shows",
        )


def _fails(scene: Scene) -> Iterator[Match]:
    up = scene.rehearsed.up
    if not up.error or scene.rehearsed.stopped or any(_required(scene)):
        return
    if not up.sqlstate:
        if is_broken(up.error_kind or "", up.error):
            yield Match(None, f"it is broken: {up.error_kind}: {up.error}", "", "correct the file")
        return
    if not up.sqlstate.startswith(VIOLATIONS):
        yield Match(scene.failed[0] if scene.failed else None, f"it fails: {up.error}")


def _not_rehearsed(scene: Scene) -> Iterator[Match]:
    up = scene.rehearsed.up
    if scene.rehearsed.stopped or not up.error or any(_required(scene)):
        return
    if (up.sqlstate or "").startswith(VIOLATIONS):
        yield Match(
            scene.failed[0] if scene.failed else None,
            f"the made-up rows do not satisfy it: {up.error}",
            "",
            "give rows that do, with --seed FILE.sql; and look in production whether all rows do",
        )
    elif not up.sqlstate and not is_broken(up.error_kind or "", up.error):
        yield Match(
            None,
            f"it raised {up.error_kind}: {up.error}",
            "",
            "let it need nothing but the database; rows that it needs can come from --seed FILE.sql",
        )


def _stopped(scene: Scene) -> Iterator[Match]:
    text = scene.rehearsed.stopped
    if text and "transaction" not in text:
        yield Match(None, f"{text} and was stopped", "", "see which statement it was at; --deadline gives it longer")


def _ended(scene: Scene) -> Iterator[Match]:
    text = scene.rehearsed.stopped
    if text and "transaction" in text:
        yield Match(
            None, text, "", "leave COMMIT and ROLLBACK to the runner; what needs it goes into autocommit_block()"
        )


def _down_fails(scene: Scene) -> Iterator[Match]:
    for done in scene.rehearsed.passes[1:]:
        if not done.error:
            continue
        if done.direction == "down" and done.error_kind == "NotImplementedError":
            continue
        what = "the downgrade fails" if done.direction == "down" else "up, down and up again fails the second time"
        yield Match(None, f"{what}: {done.error}", "", "write the downgrade as the true reverse of the upgrade")


def _differs(scene: Scene) -> Iterator[Match]:
    for lines, what in (
        (scene.rehearsed.difference, "the downgrade does not put the schema back"),
        (scene.rehearsed.again, "the second upgrade makes another schema than the first"),
    ):
        if lines:
            more = f"\n… and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
            yield Match(None, what + ":\n" + "\n".join(lines[:SHOWN]) + more, "", "")


def _irreversible(scene: Scene) -> Iterator[Match]:
    if any(done.error_kind == "NotImplementedError" for done in scene.rehearsed.passes[1:]):
        yield Match(None, "it has no downgrade", "", "")


def _truncated(scene: Scene) -> Iterator[Match]:
    for at, seen in scene.statements:
        for line in seen.notices:
            if "will be truncated to" in line:
                yield Match(at, line.removeprefix("NOTICE: ").strip(), "", "choose a name of at most 63 bytes")


def _two_ways(up: str, down: str) -> str:
    return f"def upgrade():\n    {up}\n\n\ndef downgrade():\n    {down}\n"


_ADD, _DROP = 'op.add_column("orders", sa.Column("a", sa.Text()))', 'op.drop_column("orders", "a")'

RULES = (
    Rule(
        "required-column", "error", "A new column that may not be NULL and has no default",
        "It fails as soon as the table holds one row; and the release that serves now does not fill it.",
        bad='op.add_column("orders", sa.Column("a", sa.Text(), nullable=False))',
        good=('op.add_column("orders", sa.Column("a", sa.Text(), nullable=False, server_default=""))',),
        check=_required,
    ),
    Rule(
        "fails", "error", "It fails",
        "The server refused a statement, or the revision's own Python is broken.",
        bad='op.execute("ALTER TABLE nowhere ADD COLUMN a text")',
        good=(_ADD,),
        check=_fails,
    ),
    Rule(
        "not-rehearsed", "warning", "It could not be rehearsed",
        "It needs something that a throw-away database does not have: rows of a certain kind, a service, a variable. "
        "What it does in production was not seen.",
        bad='raise ConnectionError("no route to host")',
        good=(_ADD,),
        check=_not_rehearsed,
    ),
    Rule(
        "never-ends", "error", "It did not end",
        "It was stopped at --deadline.",
        bad='op.execute("SELECT pg_sleep(3600)")',
        good=(_ADD,),
        check=_stopped,
    ),
    Rule(
        "ends-transaction", "error", "It ends its transaction itself",
        "What ran before a COMMIT stays when the rest fails, and the runner's record of it is wrong.",
        bad='op.execute("COMMIT")\n' + _ADD,
        good=(_ADD, _ADD + '\nop.execute("COMMIT")'),  # as its last act: the runner commits then anyway
        check=_ended,
    ),
    Rule(
        "downgrade-fails", "error", "The way down, or up again, fails",
        "",
        bad=_two_ways(_ADD, 'op.drop_column("orders", "b")'),
        good=(_two_ways(_ADD, _DROP),),
        check=_down_fails,
    ),
    Rule(
        "downgrade-differs", "warning", "The way down does not lead back",
        "After up and down the schema is another one than before.",
        bad=_two_ways(_ADD.replace("sa.Text())", "sa.Text()), if_not_exists=True"), "pass"),
        good=(_two_ways(_ADD, _DROP),),
        check=_differs,
    ),
    Rule(
        "no-downgrade", "warning", "There is no way down",
        "The downgrade raises NotImplementedError.",
        bad=_two_ways(_ADD, 'raise NotImplementedError("no way back")'),
        good=(_two_ways(_ADD, _DROP),),
        check=_irreversible,
    ),
    Rule(
        "name-truncated", "warning", "A name longer than 63 bytes",
        "PostgreSQL cuts it off without an error; the next one that begins alike collides with it.",
        bad='op.execute("ALTER TABLE orders ADD COLUMN " + "a" * 70 + " text")',
        good=('op.execute("ALTER TABLE orders ADD COLUMN " + "a" * 60 + " text")',),
        check=_truncated,
    ),
)  # fmt: skip
