"""A throw-away database that somebody else is in: dropped once they are out of it, and named where they stay."""

import contextlib
import threading

import pytest
from sqlalchemy import make_url

from lockstep.develop.sandbox import throwaway
from lockstep.errors import Refused
from tests.migrator.rig import Client, until

THERE = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"


@pytest.fixture
def owner(server, db):
    """The URL of the database for a role that owns it, may create others, and may not end a superuser's sessions."""
    name = make_url(db.url).database
    server.execute("CREATE ROLE {} LOGIN CREATEDB PASSWORD 'made-up'", role := f"owner_of_{name}")
    server.execute("ALTER DATABASE {} OWNER TO {}", name, role)
    yield make_url(db.url).set(username=role, password="made-up").render_as_string(hide_password=False)
    db.rows(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP OWNED BY "{role}"')
    server.execute("DROP ROLE {}", role)


def _dropping(db, name):
    """Tell whether a migrator waits until nobody is in a database any more."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query ~ %s"
    return db.rows(sql, f'^DROP DATABASE IF EXISTS "?{name}\\w*"?$')


def test_a_throw_away_database_is_dropped_although_somebody_was_in_it_whom_the_role_may_not_end(server, owner, db):
    with throwaway.database(owner) as url:
        name = make_url(url).database
        guest = Client(server.named(name), "a guest")
        leaves = threading.Thread(target=lambda: (until(lambda: _dropping(db, name), "the drop"), guest.close()))
        leaves.start()
    leaves.join()
    assert db.rows(THERE, name) == []


def test_a_throw_away_database_that_somebody_stays_in_is_named(server, owner, db):
    made = contextlib.ExitStack()
    name = make_url(made.enter_context(throwaway.database(owner))).database
    with contextlib.closing(Client(server.named(name), "a guest")), pytest.raises(Refused) as refused:
        made.close()
    assert refused.value.message.startswith(f"{name} stays on ")
    assert refused.value.message.endswith(f'database "{name}" is being accessed by other users')
    assert refused.value.cure == "drop that database by hand"
    server.execute("DROP DATABASE {}", name)
