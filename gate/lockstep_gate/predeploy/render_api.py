"""Render API: ask Render, and return the few facts of its answers.

Within its limits, and asked once where once is what was meant.

httpx, and not the official `render` package: that takes 2 s to import and 57 MB of disk, and its Job cannot be read
while its status is null, which is what the API says of a job that has not started.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from lockstep_gate.predeploy.endings import Ending, OutOfTime, Refused, Unreachable, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lockstep_gate.predeploy.deadline import Deadline
    from lockstep_gate.predeploy.settings import Settings

REQUEST_TIMEOUT_S = 10.0
PAGE = 100
MOST_PAGES = 10
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
EPOCH = 1_000_000  # RateLimit-Reset is a time below this, and a date above it


@dataclass(frozen=True)
class Service:
    """One service, as far as it matters here."""

    id: str
    name: str
    kind: str
    owner: str
    repo: str
    branch: str
    suspended: bool
    page: str


@dataclass(frozen=True)
class Deploy:
    """One deploy of a service."""

    id: str
    commit: str
    status: str


@dataclass(frozen=True)
class Job:
    """One one-off job; the API says null, or nothing, of one that has not started."""

    id: str
    command: str
    status: str


@dataclass(frozen=True)
class Line:
    """One line of a log."""

    id: str
    time: str
    text: str


class NotAccepted(Refused):
    """The API understood, and said no (4xx)."""

    def __init__(self, status: int, message: str, path: str) -> None:
        """Keep the status for those who know what it means."""
        super().__init__(f"Render's API answers {status} to {path}: {message or 'no reason given'}")
        self.status = status


class Uncertain(Ending):
    """A request was sent and no answer came: it may have been carried out."""


class Odd(Unreachable):
    """The API answered with something that its description does not know."""


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn what an answer of another shape makes of the block into Odd."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError):
        raise Odd(
            f"Render's API answers with something else than {what}", "see status.render.com, then deploy again"
        ) from None


class Api:
    """Render's API, asked with one key until one deadline."""

    def __init__(self, given: Settings, deadline: Deadline, say: Callable[[str], None]) -> None:
        """Make the client; nothing is asked yet."""
        self._given, self._deadline, self._say = given, deadline, say
        self.waiting_for = "Render's API"  # what the time was spent on, where it is up in the middle of a question
        self._http = httpx.Client(
            base_url=given.api_url,
            headers={"Authorization": f"Bearer {given.api_key}", "Accept": "application/json"},
            timeout=REQUEST_TIMEOUT_S,
        )

    def close(self) -> None:
        """Close the client's connections."""
        self._http.close()

    def service(self, service: str) -> Service:
        """Return a service by its id."""
        return _service(self._get(f"/services/{service}"))

    def services(self, name: str, kind: str, owner: str) -> list[Service]:
        """Return the services of one workspace with exactly this name and type."""
        query = {"name": name, "type": kind, "includePreviews": "false"} | ({"ownerId": owner} if owner else {})
        with _reading("services"):
            found = [_service(item["service"]) for item in self._pages("/services", query)]
        # The filter may match loosely; what it lets through is looked at again.
        return [one for one in found if (one.name, one.kind) == (name, kind) and owner in ("", one.owner)]

    def deploys(self, service: str) -> Iterator[Deploy]:
        """Yield a service's deploys, as the API orders them: the newest first."""
        for item in self._pages(f"/services/{service}/deploys", {}):
            with _reading("deploys"):
                deploy = item["deploy"]
                commit = (deploy.get("commit") or {}).get("id")
                found = Deploy(_text(deploy["id"]), _text(commit or ""), _text(deploy.get("status") or "created"))
            yield found

    def deploy(self, service: str, commit: str) -> None:
        """Ask once for a deploy of a commit; which one it is shows in the list: the answer may be empty (202)."""
        self._call("POST", f"/services/{service}/deploys", json={"commitId": commit})

    def start_job(self, service: str, command: str) -> Job:
        """Start a job, asking once; raise Uncertain where nobody knows whether it was started."""
        answer = self._call("POST", f"/services/{service}/jobs", json={"startCommand": command})
        try:
            return _job(answer)
        except Odd as odd:
            raise Uncertain(odd.message) from None

    def job(self, service: str, job: str) -> Job:
        """Return a job as it is now."""
        return _job(self._get(f"/services/{service}/jobs/{job}"))

    def job_with(self, service: str, words: str) -> Job | None:
        """Return the job whose command holds `words`, among the newest."""
        with _reading("jobs"):
            found = [_job(item["job"]) for item in self._pages(f"/services/{service}/jobs", {}, most=1)]
        return next((job for job in found if words in job.command), None)

    def log(self, owner: str, job: str, since: str) -> list[Line]:
        """Return a job's log lines from a time on, the oldest first; one page, the next call goes on."""
        query = {"ownerId": owner, "resource": job, "direction": "forward", "limit": str(PAGE)}
        answer = self._get("/logs", query | ({"startTime": since} if since else {}))
        with _reading("a log"):
            lines = answer.get("logs") or []
            return [Line(*(_text(line[name]) for name in ("id", "timestamp", "message"))) for line in lines]

    def _pages(self, path: str, query: dict[str, str], most: int = MOST_PAGES) -> Iterator[dict[str, Any]]:
        """Yield the items of a list: the cursor of a page's last item asks for the next page."""
        cursor: dict[str, str] = {}
        for _ in range(most):
            items = self._get(path, query | {"limit": str(PAGE)} | cursor)
            with _reading("a list"):
                items = [{**item} for item in items]
                last = _text(items[-1].get("cursor") or "") if len(items) >= PAGE else ""
            yield from items
            if not last:
                return
            cursor = {"cursor": last}

    def _get(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Ask, and ask again while the API is out of order, for as long as patience lasts."""
        first = time.monotonic()
        pause = min(FIRST_PAUSE_S, self._given.poll_s)
        while True:
            try:
                return self._call("GET", path, params=query)
            except Uncertain as fault:
                if time.monotonic() - first > self._given.patience_s:
                    raise Unreachable(
                        f"{fault.message}, for {self._given.patience_s:g} s (PREDEPLOY_PATIENCE)",
                        "see status.render.com, then deploy again",
                    ) from None
                self._say(f"waiting    {fault.message}")
            self._deadline.sleep(pause, self.waiting_for)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _call(self, method: str, path: str, **how: Any) -> Any:
        """Ask once, or as often as the API says it is too early; raise NotAccepted, Unusable or Uncertain."""
        while True:
            if self._deadline.left() <= 0:
                raise self._deadline.passed(self.waiting_for)
            try:
                answer = self._http.request(
                    method, path, timeout=max(0.1, min(REQUEST_TIMEOUT_S, self._deadline.left())), **how
                )
            except httpx.HTTPError as error:
                raise Uncertain(f"Render's API does not answer ({type(error).__name__})") from None
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return self._read(answer, path)
            self._wait_for_the_limit(answer)

    def _wait_for_the_limit(self, answer: httpx.Response) -> None:
        wait_s = _retry_after_s(answer.headers)
        if wait_s >= self._deadline.left():
            raise OutOfTime(
                f"Render's API takes no more requests for {wait_s:g} s (429), longer than this deploy has left",
                "deploy again then",
            )
        self._say(f"waiting    Render's API takes no more requests for {wait_s:g} s (429)")
        self._deadline.sleep(wait_s, self.waiting_for)

    def _read(self, answer: httpx.Response, path: str) -> Any:
        if answer.is_success:
            if not answer.content:
                return None
            try:
                return answer.json()
            except (ValueError, RecursionError):
                raise Uncertain(f"Render's API answers {answer.status_code} with something that is not JSON") from None
        if answer.is_server_error:
            raise Uncertain(f"Render's API answers {answer.status_code}")
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Unusable(
                f"Render's API does not accept the key ({answer.status_code})",
                "put a key that is not revoked, of a user in this workspace, into RENDER_API_KEY of the app's service",
            )
        raise NotAccepted(answer.status_code, _message(answer), path)


def _message(answer: httpx.Response) -> str:
    try:
        return " ".join(str(answer.json()["message"]).split())[:200]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _retry_after_s(headers: httpx.Headers) -> float:
    """Return how long to wait: Retry-After, else RateLimit-Reset, else a while."""
    for name in ("Retry-After", "RateLimit-Reset"):
        try:
            seconds = float(headers[name])
        except (KeyError, ValueError):
            continue
        return max(0.1, seconds if seconds < EPOCH else seconds - time.time())
    return LONGEST_PAUSE_S


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _service(item: dict[str, Any]) -> Service:
    with _reading("a service"):
        return Service(
            id=_text(item["id"]), name=_text(item["name"]), kind=_text(item["type"]),
            owner=_text(item.get("ownerId") or ""), repo=_text(item.get("repo") or ""),
            branch=_text(item.get("branch") or ""), suspended=item.get("suspended") == "suspended",
            page=_text(item.get("dashboardUrl") or ""),
        )  # fmt: skip


def _job(item: dict[str, Any]) -> Job:
    with _reading("a job"):
        command, status = item.get("startCommand") or "", item.get("status") or "pending"
        return Job(_text(item["id"]), _text(command), _text(status))
