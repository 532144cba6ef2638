"""Whatever is sent, the app never answers with a fault of its own."""

from __future__ import annotations

import http.client
import json
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIELDS = ("email", "name", "phone_number", "organisation_id", "id", "", "\x00")
PATHS = ("/users", "/organisations", "/users/1", "/organisations/1")
# The database and the app outlive the examples: rows of one are part of the next one's world.
SHARED = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["a@b.example", "Ann", "+49 30", "\ud800", "\x00", "'; DROP TABLE users; --", "%s", "%(id)s"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=6)
raw_paths = st.text(alphabet=string.printable.translate({ord(c): None for c in string.whitespace}), max_size=60)


def send(client, method, target, body=None, headers=()):
    """Send exactly this, as no well-behaved client would, and return the status."""
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=20)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


@SHARED
@given(body=bodies, path=st.sampled_from(PATHS), method=st.sampled_from(["POST", "PATCH"]))
def test_any_json_is_answered(client, body, path, method):
    sent = json.dumps(body).encode()
    assert send(client, method, path, sent, [("Content-Type", "application/json")]) < 500


@SHARED
@given(body=st.binary(max_size=300), path=st.sampled_from(PATHS), media_type=st.sampled_from(["application/json", "x"]))
def test_any_bytes_are_answered(client, body, path, media_type):
    assert send(client, "POST", path, body, [("Content-Type", media_type)]) < 500


@SHARED
@given(
    tail=raw_paths, start=st.sampled_from(["/", "/users/", "/users?", "/users?cursor=", "/users?limit=", "/users?a=%"])
)
def test_any_target_is_answered(client, tail, start):
    assert send(client, "GET", start + tail) < 500


@SHARED
@given(
    method=st.sampled_from(["GET", "PUT", "OPTIONS", "TRACE", "FOO", "DELETE"]),
    name=st.sampled_from(["Content-Type", "Cookie", "Host", "X-Forwarded-For", "Content-Length", "Range", "Accept"]),
    value=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=255), max_size=60),
)
def test_any_header_is_answered(client, method, name, value):
    assert send(client, method, "/users/1", headers=[(name, value.encode("latin-1"))]) < 500
