"""Storage: how many connections there are, what the app's role may do, what the models are."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading

import psycopg2
import pytest

from app.release import MODELS_FILE
from tests.app.rig import BUILD, eventually, is_ready, serving


def test_fifty_requests_at_once_share_the_connections_of_the_pool(migrated):
    migrated.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END';"
        "CREATE TRIGGER slow BEFORE INSERT ON organisations FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename <> current_user"
    codes, most, done = [], [0], threading.Event()

    def watch():
        with psycopg2.connect(migrated.owner_url) as connection, connection.cursor() as cursor:
            while not done.is_set():
                cursor.execute(ours)
                most[0] = max(most[0], cursor.fetchone()[0])
                connection.rollback()
        connection.close()

    with serving(migrated.url, DATABASE_POOL_SIZE="4") as client:
        eventually(lambda: is_ready(client))
        watcher = threading.Thread(target=watch)
        watcher.start()
        senders = [
            threading.Thread(
                target=lambda n=n: codes.append(client.post("/organisations", json={"name": f"o{n}"}).status_code)
            )
            for n in range(50)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        done.set()
        watcher.join()
    assert codes == [201] * 50
    assert 1 < most[0] <= 5  # the pool's, and the watch's one


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "ALTER TABLE users ADD COLUMN mine int",
        "DROP TABLE users",
        "TRUNCATE users",
        "CREATE SCHEMA mine",
        "UPDATE migrator.release SET broken_by = NULL",
        "DELETE FROM migrator.release",
    ],
)
def test_the_role_the_app_serves_with_cannot_change_the_schema_or_the_verdict(migrated, statement):
    connection = psycopg2.connect(migrated.url)
    try:
        with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)
    finally:
        connection.close()


def test_the_release_is_named_by_the_bytes_of_its_models():
    assert BUILD.digest == "sha256:" + hashlib.sha256(MODELS_FILE.read_bytes()).hexdigest()


def test_the_models_import_sqlalchemy_and_the_standard_library_only(tmp_path):
    alone = tmp_path / "models.py"
    alone.write_bytes(MODELS_FILE.read_bytes())
    code = (
        "import sys, sqlalchemy.orm; before = set(sys.modules); import models;"
        "print(sorted({n.split('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names - {'sqlalchemy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['models']"
