"""Users and organisations over HTTP: what can be done, and what is refused in which words."""

from __future__ import annotations

import threading

import pytest

from tests.app.rig import BUILD, eventually, is_ready, serving

ANN = {"email": "Ann@Example.org", "name": "Ann"}


def add(client, path, **body):
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def is_problem(answer, status, detail=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert detail is None or problem["detail"] == detail
    return problem


def test_a_user_is_created_read_changed_and_deleted(client):
    acme = add(client, "/organisations", name=" Acme ")
    assert acme["name"] == "Acme"
    created = client.post("/users", json=ANN | {"organisation_id": acme["id"]})
    user = created.json()
    assert created.headers["location"] == f"/users/{user['id']}"
    assert user == ANN | {
        "id": user["id"],
        "email": "ann@example.org",
        "phone_number": None,
        "organisation_id": acme["id"],
        "created_at": user["created_at"],
    }
    assert user["created_at"].endswith("+00:00")
    path = created.headers["location"]
    assert client.get(path).json() == user
    changed = client.patch(path, json={"phone_number": "+49 30 123", "organisation_id": None})
    assert changed.json() == user | {"phone_number": "+49 30 123", "organisation_id": None}
    assert client.patch(path, json={}).json() == changed.json()
    assert client.delete(path).status_code == 204
    is_problem(client.get(path), 404, "there is no user with this id")
    is_problem(client.delete(path), 404, "there is no user with this id")
    is_problem(client.patch(path, json={}), 404, "there is no user with this id")
    is_problem(client.patch(path, json={"name": "Bo"}), 404)


def test_an_organisation_is_created_read_changed_and_deleted(client):
    acme = add(client, "/organisations", name="Acme")
    path = f"/organisations/{acme['id']}"
    assert client.get(path).json() == acme
    assert client.patch(path, json={"name": "Acme & Søn 🎈"}).json() == acme | {"name": "Acme & Søn 🎈"}
    assert client.get("/organisations").json() == {"items": [acme | {"name": "Acme & Søn 🎈"}], "next": None}
    assert client.delete(path).status_code == 204
    is_problem(client.get(path), 404, "there is no organisation with this id")


def test_deleting_an_organisation_leaves_its_users_without_it(client):
    acme = add(client, "/organisations", name="Acme")
    user = add(client, "/users", **ANN, organisation_id=acme["id"])
    client.delete(f"/organisations/{acme['id']}")
    assert client.get(f"/users/{user['id']}").json()["organisation_id"] is None


def test_head_is_get_without_a_body(client):
    answer = client.head("/users")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_duplicate_is_a_conflict_whatever_the_case_of_its_letters(client):
    add(client, "/users", **ANN)
    other = add(client, "/users", email="bo@example.org", name="Bo")
    detail = "a user with this e-mail address exists already"
    is_problem(client.post("/users", json={"email": "ANN@EXAMPLE.ORG", "name": "Not Ann"}), 409, detail)
    is_problem(client.patch(f"/users/{other['id']}", json={"email": "ann@example.org"}), 409, detail)
    add(client, "/organisations", name="Acme")
    detail = "an organisation with this name exists already"
    is_problem(client.post("/organisations", json={"name": "Acme"}), 409, detail)


def test_of_two_creates_at_once_one_succeeds_and_one_is_a_conflict(client):
    begin = threading.Barrier(2)
    codes = []

    def create(email):
        begin.wait()
        codes.append(client.post("/users", json={"email": email, "name": "Ann"}).status_code)

    for number in range(10):
        both = [threading.Thread(target=create, args=(f"ann{number}@example.org",)) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert sorted(codes) == [201] * 10 + [409] * 10


def test_an_organisation_that_is_missing_is_a_conflict(client):
    detail = "there is no organisation with this id"
    is_problem(client.post("/users", json=ANN | {"organisation_id": 2**63 - 1}), 409, detail)
    user = add(client, "/users", **ANN)
    is_problem(client.patch(f"/users/{user['id']}", json={"organisation_id": 5}), 409, detail)


@pytest.mark.parametrize(
    "path", ["/users/0", "/users/-1", "/users/ann", "/users/007", f"/users/{2**63}", "/users/\u0661"]
)
def test_an_id_that_cannot_be_is_not_found(client, path):
    is_problem(client.get(path), 404, "there is no user with this id")
    is_problem(client.delete(path), 404)
    is_problem(client.patch(path, json={"name": "x"}), 404)


@pytest.mark.parametrize("path", ["/", "/nope", "/users/", "/users/1/x", "//users", "/users%2F1"])
def test_a_path_that_is_not_there_is_not_found_and_not_redirected(client, path):
    is_problem(client.get(path), 404)


def test_a_method_that_is_not_there_says_which_are(client):
    answer = client.put("/users/1", json={})
    is_problem(answer, 405, "PUT is not possible here")
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "PATCH", "DELETE"}
    is_problem(client.delete("/users"), 405)
    is_problem(client.post("/healthz"), 405)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "a@b@c"}, "email"),
        ({"email": "a" * 250 + "@b.example"}, "email"),
        ({"email": 1}, "email"),
        ({"email": None}, "email"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "line\nbreak"}, "name"),
        ({"name": ["Ann"]}, "name"),
        ({"phone_number": "call me"}, "phone_number"),
        ({"phone_number": "1" * 33}, "phone_number"),
        ({"organisation_id": "1"}, "organisation_id"),
        ({"organisation_id": 1.0}, "organisation_id"),
        ({"organisation_id": True}, "organisation_id"),
        ({"organisation_id": 0}, "organisation_id"),
        ({"organisation_id": 2**63}, "organisation_id"),
        ({"organisation_id": 10**400}, "organisation_id"),
        ({"id": 5}, "id"),
        ({"is_admin": True}, "is_admin"),
        ({"created_at": "2020-01-01T00:00:00Z"}, "created_at"),
    ],
)
def test_a_body_that_does_not_fit_says_where(client, change, where):
    user = add(client, "/users", **ANN)
    for answer in (client.post("/users", json=ANN | change), client.patch(f"/users/{user['id']}", json=change)):
        problem = is_problem(answer, 422, "the body does not fit; see errors")
        assert [error["where"] for error in problem["errors"]] == [where]
    assert client.get(f"/users/{user['id']}").json() == user


def test_a_body_that_lacks_something_says_what(client):
    problem = is_problem(client.post("/users", json={}), 422)
    assert problem["errors"] == [
        {"where": "email", "problem": "Field required"},
        {"where": "name", "problem": "Field required"},
    ]


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"ann"', b"true", b"NaN"])
def test_json_that_is_no_object_does_not_fit(client, body):
    is_problem(client.post("/users", content=body, headers={"Content-Type": "application/json"}), 422)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'a': 1}", b"\xff\xfe", b'{"name": "\xff"}', b'{"name": "\\ud800"}', b"\x00", b"[" * 5000, b"{}{}"],
)
def test_what_is_not_json_is_a_bad_request(client, body):
    answer = client.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 400)["detail"].startswith("the body is not JSON: ")


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "multipart/form-data"],
)
def test_another_media_type_is_refused(client, media_type):
    answer = client.post("/users", content=b"{}", headers={"Content-Type": media_type} if media_type else {})
    is_problem(answer, 415)
    assert "application/json" in answer.headers["accept"]


@pytest.mark.parametrize(
    "media_type", ["application/json;charset=UTF-8", "Application/JSON", 'application/json; charset="utf-8"']
)
def test_json_in_utf_8_is_accepted_however_it_is_written(client, media_type):
    answer = client.post("/organisations", content=b'{"name": "Acme"}', headers={"Content-Type": media_type})
    assert answer.status_code == 201


def test_a_body_too_large_is_refused_with_and_without_a_length(client):
    headers = {"Content-Type": "application/json"}
    fits = b'{"name": "Acme"' + b" " * (65_536 - 16) + b"}"
    assert client.post("/organisations", content=fits, headers=headers).status_code == 201
    detail = "a body may have 65536 bytes at most"
    is_problem(client.post("/organisations", content=fits + b" ", headers=headers), 413, detail)
    chunks = (b" " * 8192 for _ in range(200))
    is_problem(client.post("/organisations", content=chunks, headers=headers), 413, detail)
    assert client.get("/organisations").status_code == 200


def test_probes_answer_without_the_database(client):
    assert client.get("/healthz").json() == {"alive": True}
    assert client.get("/readyz").json() == {"ready": True}
    assert client.get("/version").json() == {"digest": BUILD.digest, "commit": BUILD.commit}


def test_a_rule_the_app_does_not_know_refuses_without_a_word_of_sql(own_client, migrated):
    migrated.execute("ALTER TABLE organisations ADD CONSTRAINT secret_rule CHECK (name <> 'Acme')")
    answer = own_client.post("/organisations", json={"name": "Acme"})
    is_problem(answer, 409, "a rule of the schema refuses the row")
    assert "secret_rule" not in answer.text


def test_a_slow_statement_is_given_up(migrated):
    migrated.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
        "CREATE TRIGGER slow BEFORE INSERT ON organisations FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    with serving(migrated.url, STATEMENT_TIMEOUT="200ms") as client:
        eventually(lambda: is_ready(client))
        answer = client.post("/organisations", json={"name": "Acme"})
        is_problem(answer, 503, "the database cannot answer now")
        assert answer.headers["retry-after"] == "5"


def test_a_database_that_never_answers_is_given_up(network):
    # The request has to have a connection when all stands still: none that the watch has taken for a report, and none
    # that the server ended for idling in a transaction for twice the timeout.
    with serving(network.url, STATEMENT_TIMEOUT="1s", REPORT_INTERVAL="5m") as client:
        eventually(lambda: is_ready(client))
        eventually(lambda: client.get("/users").status_code == 200)  # a busy machine may take its time for the first
        network.freeze()
        is_problem(client.get("/users"), 503, "the database did not answer in time")
        assert is_ready(client)
        network.mend()


def test_a_bug_is_a_500_that_gives_nothing_away(own_client, migrated, caplog):
    migrated.execute(
        "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'inner secret'; END$$;"
        "CREATE TRIGGER boom BEFORE INSERT ON organisations FOR EACH ROW EXECUTE FUNCTION boom()"
    )
    answer = own_client.post("/organisations", json={"name": "Very Private Name"})
    is_problem(answer, 500, "a fault of ours; it has been logged")
    assert "secret" not in answer.text
    assert eventually(lambda: "inner secret" in caplog.text)
    assert "Very Private Name" not in caplog.text
