"""`python -m migrator`, and what the image's `migrator` runs: the command line as a process."""

import os
import sys

from migrator import quick


def run() -> None:
    """Run the command line of this process, and end it with the exit code."""
    stand_in()
    code = quick.answer(sys.argv[1:])
    if code is None:
        sys.exit(quick.whole(sys.argv[1:]))
    leave(code)


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
    import atexit  # noqa: PLC0415 - built in

    # The quick answer was written out and its connection closed; a load or another tool may have left more.
    if code == 0 and "threading" not in sys.modules and not getattr(atexit, "_ncallbacks", lambda: 1)():
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
