"""Die with parent: have a process that we start told to stop once we are gone, even if we went by SIGKILL."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from lockstep.develop.sandbox import child_env

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from pathlib import Path

# The pipe on its stdin closes with the process that holds the other end, however that ends. Ten seconds are bounded:
# in a container whose first process reaps nobody, an ended process can still be signalled.
_SCRIPT = """read _; kill -"$1" "$0"
i=0; while kill -0 "$0" && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
[ -z "$2" ] || rm -rf "$2" """


@contextlib.contextmanager
def on(pid: int, sends: signal.Signals, removes: Path | None = None) -> Iterator[None]:
    """Watch over a process of ours for the length of the block; afterwards also remove a directory."""
    command = ["sh", "-c", _SCRIPT, str(pid), str(sends.value), str(removes or "")]
    quiet = subprocess.DEVNULL
    # A session of its own: Ctrl-C in the terminal must not end the watcher first.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,
        env=child_env.without_secrets(),
    ) as watcher:
        try:
            yield
        finally:
            watcher.kill()
