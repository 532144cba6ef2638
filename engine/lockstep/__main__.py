"""`python -m migrator`, and what the image's `migrator` runs: the command line as a process."""

import atexit
import gc
import os
import sys

from lockstep.stop import signals

SELDOM = 50_000  # objects made before Python looks for garbage again


def run() -> None:
    """Run the command line of this process, and end it with the exit code."""
    stand_in()
    signals.handle(signals.note)
    # What is imported stays to the end: to look for garbage in it would take a tenth of a run with nothing to do.
    gc.set_threshold(SELDOM)
    # Python takes its handlers away before it has ended; what is ignored by then stays so. First in, last out.
    atexit.register(signals.ignore)
    from lockstep import cli  # noqa: PLC0415 - a signal that comes while it is imported is noted

    code = cli.main(sys.argv[1:])
    keep_to(code)
    gc.freeze()  # nor is there any to be found in what ends with the process
    sys.exit(code)


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


if __name__ == "__main__":
    run()
