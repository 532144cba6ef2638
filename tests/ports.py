"""A free port: outside those that the system gives to whoever asks for any, with a part for each worker.

A port is looked for before the process that listens there has started; meanwhile nobody else may come upon it.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

FIRST, EACH, PARTS = 10_000, 1_000, 20  # Linux gives out 32768 and up
PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS
# Two runs on one machine rarely begin at the same place.
_turn = itertools.count(random.randrange(EACH))


def free_port():
    """Return a port nobody listens on just now, another one each time."""
    for turn in itertools.islice(_turn, EACH):
        port = FIRST + PART * EACH + turn % EACH
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no port is free")
