"""`migrator backfill [run|status|pause|resume|cancel] [NAME]`: the changes of rows that revisions declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.backfill import progress, store
from lockstep.backfill.pressure import Limits
from lockstep.backfill.worker import TARGET_MS, Worker
from lockstep.errors import EXIT_DONE, Busy, Refused, Unreachable
from lockstep.settings import duration_ms
from lockstep.stop import interrupt
from lockstep.stop.deadline import Deadline
from lockstep.upgrade import connected_run

if TYPE_CHECKING:
    from argparse import Namespace

    from lockstep.backfill.store import Backfill
    from lockstep.ledger.run_context import Run
    from lockstep.report import Report
    from lockstep.settings import Settings

WAIT_S = 1.0
# What a person may ask for: from which states it leads, to which, and the words for it.
_MOVES = {
    "pause": (("new", "running", "failed"), "paused", "paused by an operator"),
    "resume": (("paused", "failed"), "running", None),
    "cancel": (store.UNFINISHED, "cancelled", "cancelled by an operator; what was written stays"),
}


def main(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Work on what is unfinished, show it, or change what workers do."""
    if arguments.action == "run":
        return _run(settings, report, arguments)
    with connected_run.connected(settings, report) as run:
        chosen = _chosen(run, arguments.name)
        if arguments.action != "status":
            _move(run, chosen, arguments.action, report)
            chosen = _chosen(run, arguments.name)
        return _show(run, chosen, report)


def _run(settings: Settings, report: Report, arguments: Namespace) -> int:
    """Work until all is done; after a lost connection, go on with a new one."""
    limits = Limits(lag_ms=duration_ms(arguments.max_lag, "--max-lag"))
    target_ms = duration_ms(arguments.batch_time, "--batch-time") if arguments.batch_time else TARGET_MS
    deadline, has_begun = Deadline.after(settings.deadline_ms), False
    while True:
        try:
            with connected_run.connected(settings, report, deadline=deadline) as run:
                has_begun = True
                for item in _chosen(run, arguments.name):
                    _work(run, item, limits, target_ms)
                return _show(run, _chosen(run, arguments.name), report)
        except Unreachable as lost:
            if not has_begun or deadline.passed:
                raise
            report.line(f"waiting    {lost.message}")
            # A full disk would stop it again at once, and a server that is away refuses at once.
            with interrupt.listening(interrupt.Interrupt()) as asked:
                asked.sleep(min(WAIT_S, deadline.left()))


def _work(run: Run, item: Backfill, limits: Limits, target_ms: int) -> None:
    """Do one backfill, alone or with others; one that is paused when we come is left to the operator."""
    if item.state not in store.OPEN:
        return
    while True:
        state = Worker(run, item, limits, target_ms).work()
        if state == "unfinished":
            now = store.one(run.control, item.name)
            raise Busy(
                f"the time is up and {progress.line(now)[11:] if now else item.name}",
                "give it more with --deadline, or run it again: it goes on from where it is",
            )
        if state != "paused":
            return
        run.tell(f"paused     {item.name}   by an operator; `migrator backfill resume {item.name}` goes on")
        while store.state(run.control, item.name)[0] == "paused" and not run.deadline.passed:
            run.interrupt.sleep(WAIT_S)


def _chosen(run: Run, name: str | None) -> list[Backfill]:
    """Return the backfills of that name, or all; raise Refused where there is none of it."""
    found = store.every(run.control)
    if name is None:
        return found
    chosen = [item for item in found if item.name == name]
    if not chosen:
        known = ", ".join(item.name for item in found) or "none"
        raise Refused(f"there is no backfill {name}", f"those there are: {known}")
    return chosen


def _move(run: Run, chosen: list[Backfill], action: str, report: Report) -> None:
    of, to, note = _MOVES[action]
    moved = [item for item in chosen if item.state in of and store.set_state(run.control, item.name, to, note, of=of)]
    if not moved:
        raise Refused(
            f"there is nothing to {action}",
            "`migrator backfill status` shows what there is, and the state it is in",
        )
    report.data["moved"] = [item.name for item in moved]


def _show(run: Run, chosen: list[Backfill], report: Report) -> int:
    report.data["backfills"] = [as_dict(item) for item in chosen]
    for item in chosen:
        report.line(progress.line(item, item.rate))
        for relation, key, _, message in store.aside(run.control, item.name)[:10]:
            report.line(f"  aside    {relation} {', '.join(key)}   {message}")
    unfinished = sum(item.unfinished for item in chosen)
    text = f"{unfinished} unfinished" if unfinished else "nothing is left to do" if chosen else "there is no backfill"
    return report.finish(EXIT_DONE, "unfinished" if unfinished else "done", f"done: {text} (safe to run again)")


def as_dict(item: Backfill) -> dict[str, Any]:
    """Return a backfill as the JSON documents show it."""
    return {
        "name": item.name, "revision": item.revision, "table": f"{item.namespace}.{item.relation}",
        "state": item.state, "note": item.note, "paused_for": item.pause, "before_serving": item.before_serving,
        "share": round(item.share, 4) if item.share is not None else None, "estimated_rows": item.estimate,
        "rows": item.rows, "batches": item.batches, "set_aside": item.aside, "workers": item.workers,
        "rows_per_second": round(item.rate), "last_key": item.last_key, "estimated_end": item.ends,
        "declared": item.declared, "started": item.started, "finished": item.finished,
    }  # fmt: skip
