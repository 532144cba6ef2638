"""Exits: run a piece of work and return its exit code; whatever it raises becomes one line."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

from lockstep.errors import EXIT_BUG, Exhausted, Interrupted, MigratorError, masked
from lockstep.report import Report, silence_closed_streams
from lockstep.stop import signals

if TYPE_CHECKING:
    from collections.abc import Callable

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT}


def answered(report: Report, work: Callable[[], int], *, debug: bool = False) -> int:
    """Do the work and return its exit code; whatever it raises is one line with its own."""
    try:
        return work()
    except MigratorError as error:
        if debug:
            _trace()
        return report.error(error)
    except KeyboardInterrupt as stopped:
        number = signals.number_of(stopped)
        return report.error(
            Interrupted(number, f"stopped by signal {number}; what was done stays, the rest was not begun")
        )
    except SystemExit as error:  # --help and --version of argparse
        return int(error.code or 0)
    except BaseException as error:  # noqa: BLE001 - the last resort: a bug of ours is said to be one
        if debug:
            _trace()
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _EXHAUSTED:
            said = getattr(error, "strerror", None) or "no memory left"
            cure = "give it more open files, memory or disk; what was committed stays, the rest was rolled back"
            return report.error(Exhausted(f"this machine ran out of what the run needs: {said}", cure))
        bug = MigratorError(
            f"{type(error).__name__}: {' '.join(str(error).split())}", "run again with --debug and report it"
        )
        bug.word = "bug"
        bug.code = EXIT_BUG
        bug.again = "what was committed stays, the rest was rolled back"
        return report.error(bug)
    finally:
        silence_closed_streams()


def _trace() -> None:
    import traceback  # noqa: PLC0415 - milliseconds, for who asks for it

    sys.stderr.write(masked(traceback.format_exc()))
