"""The guard: what is held back, for whom, until when, and how an operator sees and overrules it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import uuid

import psycopg2
import pytest

from lockstep.contract import FORMAT
from tests.story.rig import sql, written

NAME = "    name: Mapped[str] = mapped_column(Text)\n"
PHONE = "    phone_number: Mapped[str | None] = mapped_column(Text)\n"
DROP = sql("drop_phone", "ALTER TABLE users DROP COLUMN phone_number", "ALTER TABLE users ADD COLUMN phone_number text")
NOBODY_REPORTS = "an app that does not report (as long as no release has ever reported)"


@pytest.fixture
def without_phone(first, tmp_path):
    """A release without users.phone_number, and the revision that drops it."""
    return written(first, tmp_path / "next", DROP, models=[(PHONE, "")])


def digest_of(place):
    ((digest,),) = place.rows("SELECT digest FROM migrator.release")
    return digest


def report(place, digest, age="0 s"):
    """Report as an instance of a release does."""
    place.rows(
        "INSERT INTO migrator.instance (id, release, commit, host, started, seen) "
        "VALUES (%s, %s, '1111111', 'h', now() - %s::interval, now() - %s::interval)",
        (str(uuid.uuid4()), digest, age, age),
    )


def columns(place):
    query = "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped"
    return {row[0] for row in place.rows(query)}


def deferred(place):
    return [row[0] for row in place.rows("SELECT revision FROM migrator.deferred ORDER BY 1")]


def test_where_nobody_reports_the_schema_as_it_stands_is_one_live_releases_contract(migrated, without_phone):
    done = without_phone.migrator(migrated, "upgrade")
    assert done.code == 0, done.err
    assert done.out.splitlines()[:3] == [
        "deferred   drop_phone",
        f"           {NOBODY_REPORTS}",
        "           users.phone_number: the release needs the column; the schema would offer no such column",
    ]
    assert "phone_number" in columns(migrated)
    assert migrated.rows("SELECT waits_for FROM migrator.deferred") == [(["unknown"],)]


def test_an_operator_says_that_no_unknown_release_is_live(migrated, without_phone):
    done = without_phone.migrator(migrated, "upgrade", "--no-unknown-release")
    assert done.code == 0, done.err
    assert "phone_number" not in columns(migrated)


def test_the_first_report_ends_the_unknown_release(migrated, without_phone):
    report(migrated, "sha256:somebody-of-long-ago", age="1 day")
    done = without_phone.migrator(migrated, "upgrade")
    assert (done.code, "deferred" in done.out) == (0, False), done.out + done.err
    assert "phone_number" not in columns(migrated)


def test_a_release_that_was_just_recorded_is_live_until_its_rollout_had_its_time(place, first, without_phone):
    first.migrator(place, "upgrade")
    report(place, "sha256:somebody-of-long-ago", age="1 day")
    done = without_phone.migrator(place, "upgrade", "--retention", "1h")
    assert "deferred   drop_phone" in done.out
    assert "release 1111111aaaaa (recorded lately, its rollout may be under way)" in done.out


def test_a_deployment_of_the_same_release_once_more_makes_it_expected_again(migrated, first, without_phone):
    report(migrated, digest_of(migrated), age="1 day")
    assert first.migrator(migrated, "upgrade").code == 0
    done = without_phone.migrator(migrated, "upgrade", "--retention", "1h")
    assert "deferred   drop_phone" in done.out


def test_a_deployment_that_has_nothing_to_do_makes_its_release_expected_too(migrated, first, tmp_path):
    image = written(first, tmp_path / "image", commit="5555555eeeeeee")
    image = dataclasses.replace(image, processes=subprocess)
    compiled = [sys.executable, "-m", "lockstep.project.manifest_writer"]
    subprocess.run(compiled, cwd=image.directory, env=image.environment(migrated.of_migrator()), check=True)
    report(migrated, digest_of(migrated), age="1 day")
    # The first run notes what it leaves behind; the second one finds it so, and has no need of the whole program.
    for whole in (True, False):
        migrated.rows("UPDATE migrator.release SET recorded = now() - interval '1 day', commit = ''")
        done = image.migrator(migrated, "upgrade", MIGRATOR_SHADOW_URL="", PYTHONPROFILEIMPORTTIME="1")
        assert (done.code, "sqlalchemy" in done.err) == (0, whole), done.out + done.err
        expected = "SELECT commit, now() - recorded < interval '1 min' FROM migrator.release"
        assert migrated.rows(expected) == [("5555555eeeeeee", True)]


def test_a_release_that_reports_and_was_never_recorded_needs_the_schema_it_runs_on(migrated, without_phone):
    report(migrated, "sha256:" + "9" * 64)
    done = without_phone.migrator(migrated, "upgrade")
    assert "deferred   drop_phone" in done.out
    assert "release 1111111 (1 instance since" in done.out


def test_live_releases_are_broken_for_a_reason_only_and_the_ledger_keeps_it(migrated, first, without_phone):
    report(migrated, digest_of(migrated))
    bare = without_phone.migrator(migrated, "upgrade", "--ignore-live-releases")
    assert bare.code == 2
    done = without_phone.migrator(migrated, "upgrade", "--ignore-live-releases", "the old one is shut down at 9")
    assert done.code == 0, done.err
    assert "phone_number" not in columns(migrated)
    reasons = migrated.rows("SELECT ignored_releases FROM migrator.run WHERE ignored_releases IS NOT NULL")
    assert reasons == [("the old one is shut down at 9",)]
    assert migrated.rows("SELECT broken_by FROM migrator.release WHERE commit LIKE '1111111%%'") == [("drop_phone",)]
    assert first.gate(migrated).code == 1


def test_a_new_limit_on_what_a_live_release_writes_waits_under_strict_alone(migrated, first, tmp_path):
    report(migrated, digest_of(migrated))
    check = sql("short", "ALTER TABLE users ADD CONSTRAINT ck_short CHECK (length(name) < 99) NOT VALID")
    release = written(first, tmp_path / "next", check)
    strict = release.migrator(migrated, "upgrade", "--strict")
    assert "deferred   short" in strict.out
    assert "users: the release needs its writes accepted as before" in strict.out
    assert deferred(migrated) == ["short"]
    assert "applied    short" in release.migrator(migrated, "upgrade").out
    assert deferred(migrated) == []


def test_a_downgrade_that_would_break_a_live_release_is_refused(migrated, first, tmp_path):
    add = sql("add_note", "ALTER TABLE users ADD COLUMN note text", "ALTER TABLE users DROP COLUMN note")
    models = [(NAME, NAME + "    note: Mapped[str | None] = mapped_column(Text)\n")]
    release = written(first, tmp_path / "next", add, models=models, commit="2222222bbbbbbb")
    assert release.migrator(migrated, "upgrade").code == 0
    ((newest,),) = migrated.rows("SELECT digest FROM migrator.release ORDER BY recorded DESC LIMIT 1")
    report(migrated, newest)
    done = release.migrator(migrated, "downgrade", "-1", "--yes")
    assert done.code == 1
    assert "refused: taking add_note back would break release 2222222bbbbb (1 instance since" in done.last
    assert "users.note: the release needs the column" in done.last
    assert "note" in columns(migrated)
    migrated.rows("UPDATE migrator.instance SET ended = now()")
    assert release.migrator(migrated, "downgrade", "-1", "--yes", "--retention", "0").code == 0
    assert release.gate(migrated).code == 1


def test_a_developer_takes_back_what_was_just_applied(migrated, first, tmp_path):
    add = sql("add_note", "ALTER TABLE users ADD COLUMN note text", "ALTER TABLE users DROP COLUMN note")
    models = [(NAME, NAME + "    note: Mapped[str | None] = mapped_column(Text)\n")]
    release = written(first, tmp_path / "next", add, models=models, commit="2222222bbbbbbb")
    for _ in range(2):
        assert release.migrator(migrated, "upgrade").code == 0
        assert "note" in columns(migrated)
        assert release.gate(migrated).code == 0
        done = release.migrator(migrated, "downgrade", "-1")
        assert (done.code, "done: 1 reverted" in done.last) == (0, True), done.out + done.err
        assert "note" not in columns(migrated)
        # Whoever starts it now asks first.
        assert release.gate(migrated).code == 1


def test_what_waits_for_whom_is_in_status_and_plan(migrated, without_phone):
    digest = digest_of(migrated)
    report(migrated, digest)
    without_phone.migrator(migrated, "upgrade")
    for verb in ("status", "plan"):
        lines = without_phone.migrator(migrated, verb).out.splitlines()
        (line,) = [line for line in lines if line.startswith("pending    drop_phone")]
        assert "   deferred since " in line
        assert ": drop_phone waits for release 1111111aaaaa (1 instance since " in line
    status = without_phone.migrator(migrated, "status", "--json")
    document = json.loads(status.out)
    (waits,) = document["deferred"]
    assert waits["revision"] == "drop_phone"
    found = {item["release"]: (item["live"], item["instances"], item["broken_by"]) for item in document["releases"]}
    assert found[digest] == (True, 1, None)
    lines = without_phone.migrator(migrated, "status").out.splitlines()
    assert [line for line in lines if line.startswith("           release 1111111aaaaa (1 instance since ")]


def test_a_release_that_needs_what_is_deferred_is_refused_and_told_for_whom_it_waits(migrated, first, tmp_path):
    report(migrated, digest_of(migrated))
    note = sql("note", "ALTER TABLE users ADD COLUMN note text")
    models = [(PHONE, "    note: Mapped[str | None] = mapped_column(Text)\n")]
    release = written(first, tmp_path / "next", DROP, note, models=models)
    done = release.migrator(migrated, "upgrade")
    assert done.code == 1
    assert done.last.startswith(
        "refused: the schema does not serve this release: users.note: the release needs the column"
    )
    assert "drop_phone waits for release 1111111aaaaa (1 instance since" in done.last
    assert deferred(migrated) == ["drop_phone", "note"]
    assert release.gate(migrated).code == 1
    assert first.gate(migrated).code == 0


def test_what_was_never_tried_is_not_overtaken_by_what_is_deferred(migrated, first, tmp_path):
    report(migrated, digest_of(migrated))
    release = written(first, tmp_path / "next", sql("before", "SELECT 1"), DROP, models=[(PHONE, "")])
    migrated.rows("INSERT INTO migrator.deferred (revision, reason, waits_for) VALUES ('drop_phone', 'x', '{}')")
    done = release.migrator(migrated, "upgrade", "--deferred-only")
    assert done.code == 0, done.err
    assert "phone_number" in columns(migrated)
    assert migrated.rows("SELECT count(*) FROM migrator.step WHERE revision IN ('before', 'drop_phone')") == [(0,)]


def test_a_deferred_revision_that_a_later_release_left_out_is_forgotten(migrated, first, without_phone):
    report(migrated, digest_of(migrated))
    without_phone.migrator(migrated, "upgrade")
    assert deferred(migrated) == ["drop_phone"]
    assert first.migrator(migrated, "upgrade").code == 0
    assert deferred(migrated) == []


@pytest.fixture
def outside(first, tmp_path):
    """A release that drops users.phone_number outside of a transaction."""
    drop = "with op.get_context().autocommit_block():\n    op.execute('ALTER TABLE users DROP COLUMN phone_number')"
    return written(first, tmp_path / "next", ("outside", drop), models=[(PHONE, "")])


def test_what_runs_outside_a_transaction_is_deferred_before_it_is_kept(migrated, first, outside):
    report(migrated, digest_of(migrated))
    for _ in range(2):
        done = outside.migrator(migrated, "upgrade")
        assert (done.code, "deferred   outside" in done.out) == (0, True), done.out + done.err
        assert "phone_number" in columns(migrated)
        assert migrated.rows("SELECT broken_by FROM migrator.release WHERE commit LIKE '1111111%%'") == [(None,)]
        assert first.gate(migrated).code == 0
    migrated.rows("UPDATE migrator.instance SET ended = now()")
    done = outside.migrator(migrated, "upgrade", "--retention", "0")
    assert (done.code, "applied    outside" in done.out) == (0, True), done.out + done.err
    assert "phone_number" not in columns(migrated)
    gate = first.gate(migrated)
    assert (gate.code, "revision outside changed the schema" in gate.last) == (1, True)


def test_a_release_that_was_given_up_once_still_objects_to_all_else(migrated, first, outside, tmp_path):
    report(migrated, digest_of(migrated))
    done = outside.migrator(migrated, "upgrade", "--ignore-live-releases", "it does not need that one")
    assert (done.code, "applied    outside" in done.out) == (0, True), done.out + done.err
    drop = sql("drop_name", "ALTER TABLE users DROP COLUMN name")
    more = written(outside, tmp_path / "more", drop, models=[(NAME, "")])
    for _ in range(2):
        done = more.migrator(migrated, "upgrade")
        assert "deferred   drop_name" in done.out, done.out + done.err
        assert "name" in columns(migrated)


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        (f'{{"format": {FORMAT + 1}}}', f"a release contract of format {FORMAT + 1} is recorded"),
        (f'{{"format": {FORMAT}, "tables": 7}}', "a recorded release contract is not one that a migrator wrote"),
        ("null", "a recorded release contract is not one that a migrator wrote"),
        ('"x"', "a recorded release contract is not one that a migrator wrote"),
    ],
)
def test_a_contract_that_cannot_be_read_is_one_clear_line_and_nothing_changes(migrated, without_phone, contract, says):
    migrated.rows("UPDATE migrator.release SET contract = %s::jsonb", (contract,))
    digest = digest_of(migrated)
    done = without_phone.migrator(migrated, "upgrade", "--no-unknown-release")
    assert done.code == 1
    assert done.last.startswith(f"refused: {says}")
    assert f"it is that of {digest}" in done.last
    assert "Cure: " in done.last
    assert "Traceback" not in done.out + done.err
    assert "phone_number" in columns(migrated)
    assert migrated.rows("SELECT revision FROM migrator.step WHERE revision = 'drop_phone'") == []


def test_a_contract_is_kept_for_each_of_two_tables_of_one_name(place, first, tmp_path):
    made = [
        sql("a_schema", "CREATE SCHEMA billing"),
        sql("b_table", "CREATE TABLE billing.users (id bigint PRIMARY KEY, name text NOT NULL)"),
    ]
    model = (
        "\n\nclass BillingUser(Base):\n    __tablename__ = 'users'\n    __table_args__ = {'schema': 'billing'}\n"
        "    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)\n"
        "    name: Mapped[str] = mapped_column(Text)\n"
    )
    models = [("\n\nclass User(Base):", f"{model}\n\nclass User(Base):")]
    release = written(first, tmp_path / "next", *made, models=models, commit="2222222bbbbbbb")
    done = release.migrator(place, "upgrade")
    assert done.code == 0, done.out + done.err
    report(place, digest_of(place))
    phone = written(release, tmp_path / "phone", DROP).migrator(place, "upgrade")
    assert " users.phone_number: the release needs the column" in phone.out
    name = sql("drop_name", "ALTER TABLE billing.users DROP COLUMN name")
    name = written(release, tmp_path / "name", name).migrator(place, "upgrade")
    assert " billing.users.name: the release needs the column" in name.out
    with contextlib.closing(psycopg2.connect(place.url(place.app))) as session, session.cursor() as cursor:
        cursor.execute("INSERT INTO billing.users (id, name) VALUES (1, 'x')")
        cursor.execute("SELECT name FROM billing.users")
        assert cursor.fetchall() == [("x",)]


@pytest.mark.parametrize(
    "line", ["import httpx", "from app import settings", "from . import other", "raise ValueError('no')", "def ("]
)
def test_models_that_cannot_be_loaded_are_one_clear_line_and_nothing_changes(migrated, without_phone, line):
    file = without_phone.directory / "migrator/models.py"
    file.write_text(f"{file.read_text()}\n{line}\n")
    done = without_phone.migrator(migrated, "upgrade", "--no-unknown-release")
    assert done.code == 2, done.out + done.err
    assert done.last.startswith("usage: ")
    assert "models.py" in done.last
    assert "Traceback" not in done.out + done.err
    assert "phone_number" in columns(migrated)
    assert migrated.rows("SELECT revision FROM migrator.step WHERE revision = 'drop_phone'") == []
