"""Pages: a list is walked once, in order, whatever comes and goes in between."""

from __future__ import annotations

import base64

import pytest

from app import pages


def organisations(client, number):
    return [client.post("/organisations", json={"name": f"o{n}"}).json()["id"] for n in range(number)]


def test_a_list_is_walked_in_order_and_ends(client):
    ids = organisations(client, 7)
    seen, cursor, calls = [], None, 0
    while calls == 0 or cursor:
        page = client.get("/organisations", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor, calls = page["next"], calls + 1
    assert (seen, calls) == (ids, 3)


def test_a_last_page_that_is_full_has_no_next(client):
    organisations(client, 4)
    first = client.get("/organisations?limit=2").json()
    second = client.get("/organisations", params={"limit": 2, "cursor": first["next"]}).json()
    assert (len(second["items"]), second["next"]) == (2, None)


def test_rows_that_come_and_go_between_pages_neither_repeat_nor_hide_others(client):
    ids = organisations(client, 6)
    first = client.get("/organisations?limit=3").json()
    client.post("/organisations", json={"name": "late"})
    client.delete(f"/organisations/{ids[0]}")
    client.delete(f"/organisations/{ids[2]}")
    client.delete(f"/organisations/{ids[4]}")
    second = client.get("/organisations", params={"limit": 3, "cursor": first["next"]}).json()
    assert [item["name"] for item in second["items"]] == ["o3", "o5", "late"]


def test_users_are_listed_by_their_organisation(client):
    one, two = organisations(client, 2)
    for number in range(5):
        body = {"email": f"u{number}@x.example", "name": "u", "organisation_id": (one, two)[number % 2]}
        assert client.post("/users", json=body).status_code == 201
    first = client.get("/users", params={"organisation_id": one, "limit": 2}).json()
    rest = client.get("/users", params={"organisation_id": one, "limit": 2, "cursor": first["next"]}).json()
    assert [item["email"][:2] for item in first["items"] + rest["items"]] == ["u0", "u2", "u4"]
    assert client.get("/users", params={"organisation_id": 999}).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit is a whole number from 1 to 200"),
        ("limit=201", "limit is a whole number from 1 to 200"),
        ("limit=" + "9" * 5000, "limit is a whole number from 1 to 200"),
        ("limit=ten", "limit is a whole number from 1 to 200"),
        ("limit=", "limit is a whole number from 1 to 200"),
        ("limit=1&limit=2", "the parameter 'limit' is given more than once"),
        ("offset=1", "there is no parameter 'offset'"),
        ("organisation_id=x", "organisation_id is the id of a row"),
        ("cursor=", "this cursor is not one that this list gave"),
        ("cursor=AAAA", "this cursor is not one that this list gave"),
        ("cursor=%00%ff%C3%A9", "this cursor is not one that this list gave"),
        ("cursor=" + pages.cursor(1, table="organisations"), "this cursor is not one that this list gave"),
        ("cursor=" + pages.cursor(1, table="users") + "=", "this cursor is not one that this list gave"),
        ("cursor=" + pages.cursor(2**63, table="users"), "this cursor is not one that this list gave"),
        ("cursor=" + pages.cursor(0, table="users"), "this cursor is not one that this list gave"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(client, query, detail):
    answer = client.get(f"/users?{query}")
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


def test_a_cursor_tells_nothing_but_a_place():
    assert base64.urlsafe_b64decode(pages.cursor(5, table="users") + "===") == b"\0\0\0\0\0\0\0\5users"
