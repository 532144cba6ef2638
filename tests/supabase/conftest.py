"""Fixtures: a real pgbouncer in front of the tests' server, in either mode."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.ports import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
NOBODY = 65534


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def pooled(url, mode, pool_size=20):
    """Run pgbouncer before a database; yields the URL by which it is reached through it."""
    given = make_url(url)
    # pgbouncer does not run as root, and pytest's directories are for the user that runs the tests.
    with tempfile.TemporaryDirectory(prefix="pooler-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "users").write_text(f'"{given.username}" "{given.password}"\n')
        process, port = launched(given, directory, f"pool_mode = {mode}\ndefault_pool_size = {pool_size}\n")
        try:
            yield given.set(port=port, host="127.0.0.1").render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(60)


def launched(given, directory, more):
    """Start pgbouncer on a free port; again on another where somebody else was quicker."""
    for _ in range(5):
        port = free_port()
        (directory / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={given.host} port={given.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = plain\n"
            f"auth_file = {directory / 'users'}\nunix_socket_dir =\n{more}"
        )
        unprivileged = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        process = subprocess.Popen(
            [PGBOUNCER, directory / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **unprivileged,
        )  # fmt: skip
        end = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < end:
            if answers(port):
                return process, port
            time.sleep(0.02)
        process.kill()
        process.wait()
    raise AssertionError("pgbouncer does not start")


@pytest.fixture
def pooler():
    """Put a pooler in a mode before a database: `pooler(url, "transaction")` gives the URL through it."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    with contextlib.ExitStack() as stack:

        def start(url, mode, **options):
            return stack.enter_context(pooled(url, mode, **options))

        yield start
