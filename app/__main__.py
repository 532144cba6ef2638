"""`python -m app`: the environment in, a serving process out, an exit code in the end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from app import application, release, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lockstep_gate.release import Release

log = logging.getLogger("app")
# Longer than the idle time of proxies in front: they, not we, end a connection they may be about to use.
KEEP_ALIVE_S = 75
BACKLOG = 2048
KEYS = {"RENDER_API_KEY"}


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Serve until a signal ends it."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        given = settings.read(environ)
        listener = _listen(given.host, given.port)
    except settings.SettingsError as error:
        print("\n".join(f"app: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    build = release.of_this_build(given.commit)
    log.info("listening on http://%s:%d, %s", given.host, listener.getsockname()[1], build)
    # In force before uvicorn takes the signals over, and when it raises them again after it has shut down cleanly.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    try:
        _server(given, build).run(sockets=[listener])
    except SystemExit as ending:
        return int(ending.code or 0)
    return 0


def _server(given: settings.Settings, build: Release) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application.make(given, build),
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,  # app.access_log writes it, without query strings
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=given.trusted_proxies,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(given.shutdown_timeout_s),
            backlog=BACKLOG,
        )
    )


def _end(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; what keeps us from having one is a fault of the settings."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        cure = "stop what listens there, or set PORT or HOST"
        why = str(error.strerror).partition(" (")[0]
        raise settings.SettingsError(f"cannot listen on {host}, port {port}: {why}; {cure}") from None
    # Inherited by connections. asyncio sets it on sockets it made itself only; without it the second part of an answer
    # waits until the client has acknowledged the first, which on a kept connection takes it 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _drop_keys() -> None:
    """Begin again without the key of the pre-deploy, which shares our environment on Render.

    Taken out of os.environ it would still stand in /proc/<pid>/environ: only a new image of the process loses it.
    """
    if KEYS & os.environ.keys():
        kept = {name: value for name, value in os.environ.items() if name not in KEYS}
        os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _drop_keys()
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit: it would wait for threads that wait for a database which never answers.
    os._exit(code)
