"""`python -m migrator`, and what the image's `migrator` runs: the command line as a process."""

import atexit
import os
import sys

from lockstep.stop import signals
from lockstep.upgrade import quick


def run() -> None:
    """Run the command line of this process, and end it with the exit code."""
    stand_in()
    signals.handle(signals.note)
    code = quick.answer(sys.argv[1:])
    if code is None:
        # Python takes its handlers away before it has ended; what is ignored by then stays so. First in, last out.
        atexit.register(signals.ignore)
        code = quick.whole(sys.argv[1:])
        keep_to(code)
        sys.exit(code)
    keep_to(code)
    leave(code)


def keep_to(code: int) -> None:
    """Have a signal, also one that came, end the process as what it has said: it may still wait for a thread."""
    signals.handle(lambda _number, _frame: os._exit(code))
    if signals.asked():
        os._exit(code)


def stand_in() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed: the next connection would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def leave(code: int) -> None:
    """End the process; where nothing waits for its end, without taking the interpreter apart: which takes long."""
    # The quick answer, or that of a load, was written out, its connection closed; another tool may have left more.
    if code == 0 and _is_alone() and not getattr(atexit, "_ncallbacks", lambda: 1)():
        os._exit(code)
    sys.exit(code)


def _is_alone() -> bool:
    """Tell whether no other thread works, nor waits for this one to end: `concurrent.futures` has a list of its own."""
    threading = sys.modules.get("threading")
    return threading is None or (threading.active_count() == 1 and not getattr(threading, "_threading_atexits", True))


if __name__ == "__main__":
    run()
