"""Nonsense from the network: requests to the app, and answers of Render's API; each is answered, or one clear no."""

import concurrent.futures
import contextlib
import http.server
import logging
import socket
import threading

import pytest

from app import release
from app.predeploy import VERSIONS
from lockstep_gate.predeploy import revisions
from lockstep_gate.predeploy import settings as predeploy_settings
from lockstep_gate.predeploy.deadline import Deadline
from lockstep_gate.predeploy.decision import Predeploy
from lockstep_gate.predeploy.endings import Ending
from tests.app.conftest import app_role, bare, client, migrated, shared
from tests.app.rig import settings_for
from tests.torture.corpora import render
from tests.torture.corpora.requests import REQUESTS

__all__ = ["app_role", "bare", "client", "migrated", "shared"]
SECRET = "hunter2hunter2"
KEY = "rnd_5tandInKeyOfTheTests0123456789"


def exchange(address, data):
    """Send exactly these bytes and nothing more; return all that comes back."""
    with contextlib.closing(socket.create_connection(address, 20)) as connection:
        parts = []
        with contextlib.suppress(ConnectionError):  # the app may close before it has read everything
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)


def wrong_with(answer):
    """Return what is wrong with an answer: a fault of the app's, a traceback, a secret."""
    status = int(answer.split(b" ", 2)[1]) if answer else 0
    wrong = [f"status {status}"] if status >= 500 else []
    if b"Traceback" in answer or SECRET.encode() in answer or b"psycopg2" in answer or b"SELECT " in answer:
        wrong.append("it shows its inside")
    return wrong


def test_any_request_is_answered_and_none_is_a_fault_of_the_apps(client, shared, caplog):
    database, _ = shared
    address = (client.base_url.host, client.base_url.port)
    wrong = []
    with caplog.at_level(logging.ERROR):
        for request in REQUESTS:
            data = request.replace(b"{S}", SECRET.encode())
            wrong += [(request[:200], one) for one in wrong_with(exchange(address, data))]
    assert not wrong, f"{len(wrong)} of {len(REQUESTS)}\n" + "\n".join(map(str, wrong))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert database.execute("SELECT count(*) FROM users") == [(0,)]
    assert client.get("/readyz").status_code == 200


class Answers(http.server.BaseHTTPRequestHandler):
    """Render's API, as far as a pre-deploy asks it; below /0, /1, … it gives one bad answer each."""

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, number, path = self.path.partition("?")[0].split("/", 2)
        where, data = ANSWERS[int(number)]
        line = f"{self.command} /{path}"
        if line != where:
            data = self._good(line)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)
        self.close_connection = True

    do_GET = do_POST = _answer  # noqa: N815 - the names that http.server looks for

    @staticmethod
    def _good(line):
        deploy = f'[{{"deploy": {{"id": "dep-1", "commit": {{"id": "{COMMIT}"}}, "status": "live"}}, "cursor": "x"}}]'
        body = {
            "GET /services": f'[{{"service": {render.SERVICE}, "cursor": "x"}}]',
            "GET /services/crn-1": render.SERVICE,
            "GET /services/crn-1/deploys": deploy,
            "GET /services/crn-1/jobs": "[]",
            "POST /services/crn-1/jobs": '{"id": "job-1", "status": "failed", "startCommand": "x"}',
            "GET /services/crn-1/jobs/job-1": '{"id": "job-1", "status": "failed", "startCommand": "x"}',
        }.get(line, "{}")
        return answer(200, body)

    def log_message(self, *_):
        pass


class Patient(http.server.ThreadingHTTPServer):
    """One that says nothing of a client that has left: a traceback is made with Python's ast too (see below)."""

    def handle_error(self, *_):
        pass


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def answer(status, body, *headers):
    data = body.encode()
    lines = [f"HTTP/1.1 {status} x", "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


ANSWERS = [
    *((where, answer(200, body.replace("{S}", SECRET))) for where in render.WHERE for body in render.BODIES),
    *((render.WHERE[0], answer(status, '{"message": "no"}')) for status in render.STATUSES),
    *(
        (render.WHERE[0], answer(429, "{}", f"Retry-After: {wait}".encode().decode("latin-1")))
        for wait in render.RETRIES
    ),
    *((render.WHERE[0], data) for data in render.RAW),
]


@pytest.fixture
def api():
    """A server that answers with what `Answers.bad` says."""
    server = Patient(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def ended(own, url, last):
    """Run one pre-deploy on a closed gate; return what it said, and how it ended."""
    given = predeploy_settings.read(
        {
            "RENDER_API_KEY": KEY, "RENDER_API_URL": url, "IMAGE_COMMIT": COMMIT, "PREDEPLOY_POLL": "50ms",
            "PREDEPLOY_PATIENCE": "100ms", "PREDEPLOY_GRACE": "100ms", "PREDEPLOY_DEADLINE": "1s",
            "PREDEPLOY_DATABASE_WAIT": "0s",
        }
    )  # fmt: skip
    said = []
    predeploy = Predeploy(own, given, release.of_this_build(COMMIT), last, Deadline.after(given.deadline_s))
    predeploy.say = said.append
    try:
        predeploy.run(wait_only=False)
    except Ending as ending:
        said.append(str(ending))
        return said, ending.code
    finally:
        predeploy._through.close()
    return said, 0


def wrong_ending(own, url, bad, last):
    try:
        said, code = ended(own, url, last)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"{bad[0]} {bad[1][-90:]}: {type(error).__name__}: {error}"
    last = said[-1]
    if (
        code in {1, 2, 3, 4, 5}
        and "\n" not in last
        and len(last) < 1000
        and SECRET not in str(said)
        and KEY not in str(said)
    ):
        return ""
    return f"{bad[0]} {bad[1][-90:]}: {code} {last[:300]}"


@pytest.mark.slow
def test_any_answer_of_the_platforms_api_is_a_clear_no(migrated, api):
    # Read once: Python 3.11's ast, which reads a checkout's revisions, is not for several threads (SystemError).
    last = revisions.at(VERSIONS)
    migrated.execute("DELETE FROM migrator.release")
    own = settings_for(migrated.url)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # most of the time they wait for what may come yet
        found = pool.map(lambda item: wrong_ending(own, f"{api}/{item[0]}", item[1], last), enumerate(ANSWERS))
        wrong = [one for one in found if one]
    assert not wrong, f"{len(wrong)} of {len(ANSWERS)}\n" + "\n".join(wrong)
    assert migrated.execute("SELECT count(*) FROM migrator.release") == [(0,)]
