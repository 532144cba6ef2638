"""`python -m migrator`: the command line as a module."""

import os
import sys

from migrator.quick import main


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
    stand_in()
    sys.exit(main())
