"""Forks: `run` and `Popen` as `subprocess` has them, for Python processes that need not import their libraries anew.

A server has imported them once and forks for each process that is asked for: the same code in a process of its own,
without the half second of imports, which are most of what a short run costs. There are two servers: one that holds
the libraries alone, and one that has the engine loaded too, as it is installed.

A true process (`subprocess`) is for tests of what happens before the first line of ours, of what a list of processes
shows, and of signals that come while modules are imported.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "alembic.command", "pgparse", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql.psycopg2", "psycopg2.extras",
    "encodings.idna", "starlette.applications", "uvicorn.protocols.http.h11_impl", "uvicorn.lifespan.on", "httpx",
)  # fmt: skip
ENGINE = (
    *LIBRARIES, "lockstep.__main__", "lockstep.parsing", "lockstep.upgrade.run_lock", "lockstep.upgrade.job",
    "lockstep.upgrade.load_checkpoint", "lockstep_gate.contract.models_file", "lockstep_gate.contract.derivation",
    "lockstep.verbs.upgrade", "lockstep.verbs.downgrade", "lockstep.verbs.backfill",
)  # fmt: skip
STARTS = {"LD_PRELOAD", "PYTHONDEVMODE", "PYTHONHASHSEED", "PYTHONPROFILEIMPORTTIME", "PYTHONWARNINGS"}
MESSAGE_BYTES = 1 << 17  # an environment and a command line


# The server.


def serve(control, modules):
    """Fork for each message on the control socket, until its other end is closed."""
    for name in modules:
        importlib.import_module(name)
    if "lockstep.parsing" in modules:
        _keep_the_parser()
    gc.collect()
    gc.freeze()  # a child that looks for garbage would write into every page, and have a copy of each
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reports = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if control in ready:
            message, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 4)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                _become(json.loads(message), fds[:3])
            for fd in fds[:3]:
                os.close(fd)
            os.write(fds[3], b"%d\n" % pid)
            reports[pid] = fds[3]
        if woken in ready:
            woken.recv(1024)
            _report_ended(reports)


def _keep_the_parser():
    from lockstep import parsing  # noqa: PLC0415

    made = parsing.build()  # a tenth of what a child costs; the environment here holds nothing that would change it
    parsing.build = lambda: made


def _report_ended(reports):
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(reports[pid], b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(reports.pop(pid))


def _become(asked, fds):
    """Be the process that was asked for, from the first line of its code to its exit code."""
    code = 1
    try:
        _take_on(asked, fds)
        code = _result_of(asked["words"])
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _take_on(asked, fds):
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, 1024)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [asked["cwd"], *given, *(path for path in sys.path if path not in ("", str(ROOT)))]
    sys.path_importer_cache.clear()
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the process's own
    sys.stdout = _stream(1, "strict", unbuffered=unbuffered)
    sys.stderr = _stream(2, "backslashreplace", unbuffered=unbuffered)
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()


def _stream(number, errors, *, unbuffered):
    raw = io.FileIO(number, "w", closefd=False)
    buffer = raw if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer, encoding="utf-8", errors=errors, line_buffering=number == 2, write_through=unbuffered
    )


def _result_of(words):
    """Run `-m module …` or `-c code …` as Python would; return the exit code."""
    how, what, *rest = words
    sys.argv, sys.orig_argv = [how, *rest], [sys.executable, *words]
    try:
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), main.__dict__)  # noqa: S102 - what `python -c` is
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


# Whoever asks.


class Server:
    """A server, as those see it who ask for processes."""

    def __init__(self, kind):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PG_BIN")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", kind, str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()],
            env={name: os.environ[name] for name in kept if name in os.environ}, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._lock = threading.Lock()
        atexit.register(self.close)

    def ask(self, asked, fds):
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(asked).encode()], fds)

    def close(self):
        self._socket.close()
        self._process.wait()


@functools.cache
def server(kind):
    return Server(kind)


def _kind(words):
    """Return which server has loaded what this process will load anyway."""
    code = words[1]
    is_engine = words[:2] in (["-m", "migrator"], ["-m", "lockstep"]) or code.startswith(
        ("from lockstep", "import lockstep")
    )
    return "engine" if is_engine else "libraries"


class Popen:
    """A forked Python process: as much of `subprocess.Popen` as tests ask of it, all of it text."""

    def __init__(self, args, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None, **same):
        assert same.items() <= {"text": True, "start_new_session": True}.items()
        self.args, self.returncode, self.stdout, self.stderr = list(map(str, args)), None, None, None
        assert self.args[0] == sys.executable, self.args
        cwd, env = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        assert not STARTS.intersection(env), "what is read when a process starts needs a true one"
        ours, theirs = os.pipe()
        report = os.fdopen(ours, encoding="ascii")
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, theirs)
            fds = [self._end(stack, name, one) for name, one in zip(("stdin", "stdout"), (stdin, stdout), strict=True)]
            fds.append(fds[1] if stderr is subprocess.STDOUT else self._end(stack, "stderr", stderr))
            asked = {"words": self.args[1:], "cwd": cwd, "env": env}
            server(_kind(self.args[1:])).ask(asked, [*fds, theirs])
        self.pid, self._over = int(report.readline()), threading.Event()
        threading.Thread(target=self._hear, args=(report,), daemon=True).start()

    def _end(self, stack, name, wanted):
        """Return the descriptor that the process gets for one of its streams."""
        if wanted is subprocess.PIPE:
            ours, theirs = os.pipe()
            setattr(self, name, os.fdopen(ours, encoding="utf-8"))
            stack.callback(os.close, theirs)
            return theirs
        if wanted in (None, subprocess.DEVNULL):
            fd = os.open(os.devnull, os.O_RDONLY if name == "stdin" else os.O_WRONLY)
            stack.callback(os.close, fd)
            return fd
        return wanted.fileno()

    def _hear(self, report):
        with report:
            self.returncode = int(report.readline())
        self._over.set()

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number):
        # It may end between the question and the signal: its parent is another process, which waits for it.
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def run(args, *, cwd=None, env=None, timeout=None, **same):
    """Run a Python process to its end: `subprocess.run(…, capture_output=True, text=True, check=False)`."""
    assert same.items() <= {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": False}.items()
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(os.fdopen(os.memfd_create("said"), "rb")) for _ in range(2))
        process = Popen(args, cwd=cwd, env=env, stdout=out, stderr=err)
        try:
            process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(io.TextIOWrapper(io.BytesIO(file.read()), encoding="utf-8").read())
    return subprocess.CompletedProcess(args, process.returncode, *said)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[2])), {"libraries": LIBRARIES, "engine": ENGINE}[sys.argv[1]])
