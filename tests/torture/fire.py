"""Fire: a switch in, hundreds of clients on it until told to stop, every answer and every acknowledged write kept."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from dataclasses import dataclass

import httpx

from local.story.switch import until

SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """One request's: when it was sent, how long it took, its status (0: no answer), from which instance."""

    sent: float
    took: float
    status: int
    pid: int
    what: str


class Fire:
    """So many clients on one thread, each writing rows of its own and reading them back, with a pause in between."""

    def __init__(self, switch, clients, pause_s):
        self._switch, self._clients, self._pause_s = switch, clients, pause_s
        self.answers: list[Answer] = []
        self.kept: dict[int, set[str]] = {}  # user: the name acknowledged last, and any that was sent since
        self.wrong: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join(2 * SECONDS)

    @property
    def requests(self):
        return len(self.answers)

    def go_on(self, more=60):
        goal = self.requests + more * 3
        until(lambda: self.requests >= goal or not self._thread.is_alive(), f"{more * 3} requests", 4 * SECONDS)

    def latency_ms(self, since, before=float("inf")):
        """Return median and 99th of a hundred, of what was served in that time."""
        took = sorted(a.took * 1000 for a in self.answers if since <= a.sent < before and 200 <= a.status < 300)
        return statistics.median(took), took[len(took) * 99 // 100]

    async def _all(self):
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self._clients)
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False, limits=limits) as http:
            await asyncio.gather(*(self._client(http, number) for number in range(self._clients)))

    async def _client(self, http, number):
        await asyncio.sleep(self._pause_s * number / self._clients)
        for turn in itertools.count():
            mark = f"client-{number}-{turn}"
            made = await self._ask(http, "POST", "/users", 201, lambda release, mark=mark: release.new_user(mark, None))
            if made:
                user = made["id"]
                self.kept[user] = {mark}
                for again in range(3):
                    await self._change(http, user, f"{mark}-{again}")
                    await self._read(http, user)
                    if self._stopping.is_set():
                        return
            if self._stopping.is_set():
                return

    async def _change(self, http, user, name):
        self.kept[user].add(name)  # an answer that is lost may have been a yes
        done = await self._ask(http, "PATCH", f"/users/{user}", 200, lambda release: {release.name_of_user: name})
        if done:
            self.kept[user] = {name}

    async def _read(self, http, user):
        with self._switch.picked() as instance:
            found = await self._on(http, instance, "GET", f"/users/{user}", 200, None)
        if found and found[instance.release.name_of_user] not in self.kept[user]:
            self.wrong.append(f"user {user} is {found}, not one of {self.kept[user]}")
        await asyncio.sleep(self._pause_s)

    async def _ask(self, http, method, path, expected, body):
        with self._switch.picked() as instance:
            found = await self._on(http, instance, method, path, expected, body)
        await asyncio.sleep(self._pause_s)
        return found

    async def _on(self, http, instance, method, path, expected, body):
        sent, status, text = time.monotonic(), 0, "nothing takes traffic"
        if instance:
            try:
                given = body(instance.release) if body else None
                answer = await http.request(method, instance.url + path, json=given)
                status, text = answer.status_code, answer.text
            except httpx.TransportError as error:
                text = type(error).__name__
        pid = instance.process.pid if instance else 0
        self.answers.append(Answer(sent, time.monotonic() - sent, status, pid, f"{method} {path}: {text[:200]}"))
        if status == expected:
            return answer.json()
        if status == 503:
            self._judge_refusal(answer)
        return None

    def _judge_refusal(self, answer):
        if answer.headers.get("content-type") != "application/problem+json" or "Traceback" in answer.text:
            self.wrong.append(f"a 503 that is not clean: {answer.text[:300]}")
