"""Load: a switch in, requests on every endpoint through it until told to stop, each counted as served or failed.

A row that one release wrote is read and changed by whichever release the next request meets, so that a name that did
not reach the other column is a failure too, like any status that was not to be expected.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from local.story.switch import SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from local.story.release import Release
    from local.story.switch import Switch

PAUSE_S = 0.02
RECONNECT_EVERY = 9
DELETE_EVERY = 2


class Failed(Exception):
    """A request was not served as it should be; it has been counted."""


class Load:
    """A few clients, each on a thread with a connection pool of its own."""

    def __init__(self, switch: Switch, clients: int = 3) -> None:
        """Take aim."""
        self._switch = switch
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.requests = 0
        self.failures: list[str] = []
        self.kept: dict[int, str] = {}  # the users that are there in the end, with their names
        marks = [f"client-{secrets.token_hex(3)}" for _ in range(clients)]
        self._threads = [threading.Thread(target=self._work, args=(mark,), daemon=True) for mark in marks]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End, each client after the request it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def go_on(self, more: int = 60) -> None:
        """Return after so many more requests."""
        goal = self.requests + more
        until(lambda: self.requests >= goal, f"{more} requests")

    def _work(self, name: str) -> None:
        client = _Client(self, self._switch)
        for number in itertools.count():
            if self._stopping.is_set():
                break
            try:
                self._round(client, f"{name}-{number}", delete=number % DELETE_EVERY == 0)
            except Failed:
                time.sleep(PAUSE_S)
        client.close()

    def _round(self, client: _Client, mark: str, *, delete: bool) -> None:
        """Use every endpoint once."""
        organisation = client.ask("POST", "/organisations", 201, {"name": mark})["id"]
        user = client.ask("POST", "/users", 201, lambda release: release.new_user(mark, organisation))["id"]
        with self._lock:
            self.kept[user] = mark
        client.ask("GET", f"/users/{user}", 200, user_is=mark)
        name = f"{mark} again"
        client.ask("PATCH", f"/users/{user}", 200, lambda release: {release.name_of_user: name}, user_is=name)
        with self._lock:
            self.kept[user] = name
        client.ask("GET", f"/users/{user}", 200, user_is=name)
        client.ask("GET", "/users?limit=5", 200)
        client.ask("GET", f"/users?organisation_id={organisation}", 200)
        client.ask("GET", "/organisations?limit=5", 200)
        client.ask("GET", f"/organisations/{organisation}", 200)
        client.ask("PATCH", f"/organisations/{organisation}", 200, {"name": name})
        for path in ("/healthz", "/readyz", "/version"):
            client.ask("GET", path, 200)
        client.ask("DELETE", f"/organisations/{organisation}", 204)
        if delete:
            with self._lock:
                del self.kept[user]
            client.ask("DELETE", f"/users/{user}", 204)
            client.ask("GET", f"/users/{user}", 404)

    def count(self, failure: str = "") -> None:
        """Count one request."""
        with self._lock:
            self.requests += 1
            if failure:
                self.failures.append(failure)


class _Client:
    """Keeps its connections, and every now and then makes new ones."""

    def __init__(self, load: Load, switch: Switch) -> None:
        self._load, self._switch = load, switch
        self._number = 0
        self._http = httpx.Client(timeout=SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        expected: int,
        body: dict[str, Any] | Callable[[Release], dict[str, Any]] | None = None,
        user_is: str | None = None,
    ) -> dict[str, Any]:
        """Send one request, count it, and return the answer; raise Failed if it is not the one expected."""
        self._number += 1
        if self._number % RECONNECT_EVERY == 0:
            self._http.close()
            self._http = httpx.Client(timeout=SECONDS, trust_env=False)
        try:
            answer = self._answer(method, path, expected, body, user_is)
        except Failed as failure:
            self._load.count(f"{method} {path}: {failure}")
            raise
        self._load.count()
        time.sleep(PAUSE_S)
        return answer

    def _answer(self, method: str, path: str, expected: int, body: Any, user_is: str | None) -> dict[str, Any]:
        with self._switch.picked() as instance:
            if instance is None:
                raise Failed("nothing takes traffic")
            try:
                sent = body(instance.release) if callable(body) else body
                answer = self._http.request(method, instance.url + path, json=sent)
            except httpx.TransportError as error:
                raise Failed(f"{type(error).__name__} from release {instance.release.commit[:7]}") from error
            who = f"from release {instance.release.commit[:7]}"
            if answer.status_code != expected:
                raise Failed(f"{answer.status_code} {who}, expected {expected}: {answer.text[:200]}")
            found = answer.json() if answer.content else {}
            if user_is is not None and found[instance.release.name_of_user] != user_is:
                raise Failed(f"the user is {found[instance.release.name_of_user]!r} {who}, expected {user_is!r}")
            return dict(found)
