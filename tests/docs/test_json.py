"""The JSON documents of every verb hold the documented keys: those and no others."""

import json
import re

import pytest

from lockstep import cli
from tests.docs.pages import page, rows

DOCUMENT = page("docs/json.md")
# Not every run has a finding, another tool's opinion, or clients beside it; a downgrade is refused where an upgrade
# defers; only `pause` and its like move a backfill.
NOT_ALWAYS = re.compile(r"(findings|opinions|loads|unknown)\[|(downgrade waits_for)\[|moved$")
LIVE = (
    "INSERT INTO migrator.instance (id, release, commit, host) "
    "VALUES ('00000000-0000-0000-0000-000000000001', 'sha256:old', 'c0ffee', 'web-1')"
)


def documented(heading):
    """The keys of a section; one that says it has another's keys has them."""
    text = DOCUMENT.section(heading)
    found = {key for row in rows(text) for key in re.findall(r"`([\w.\[\]]+)`", row[0])}
    if not found:
        found = documented("upgrade") - {"drift"}
    return found


def keys(value, prefix=""):
    """Every key of a document, lists of objects as `name[].key`."""
    found = set()
    for name, one in value.items():
        path = f"{prefix}{name}"
        if isinstance(one, dict):
            found |= keys(one, f"{path}.")
            continue
        found.add(path)
        for item in one if isinstance(one, list) else ():
            if isinstance(item, dict):
                found |= keys(item, f"{path}[].")
    return {re.sub(r"(\.changes)\..*", r"\1", key) for key in found}


class Look:
    """Runs verbs, checks each printed document against the page, and remembers its keys by verb."""

    def __init__(self, run, project):
        self.run, self.project = run, project
        self.seen = {"every": set()}

    def __call__(self, *arguments, **options):
        done = self.run(*arguments, "--json", **({"project": self.project} | options))
        document = json.loads(done.out)
        assert (document["format"], document["exit_code"]) == (1, done.code)
        found, every, verb = keys(document), documented("Every verb"), document["verb"]
        allowed = every | (documented(verb) if verb else set())
        assert found <= allowed, f"not documented for {verb!r}: {sorted(found - allowed)}"
        self.seen.setdefault(verb, set()).update(found - every)
        self.seen["every"] |= found & every
        return document

    def unseen(self):
        """The documented keys that no document had."""
        found = ((verb, key) for verb in cli.VERBS for key in documented(verb) - self.seen.get(verb, set()))
        return sorted(f"{verb} {key}" for verb, key in found if not NOT_ALWAYS.search(f"{verb} {key}"))


@pytest.mark.slow
def test_each_verbs_document_holds_the_documented_keys_and_no_others(run, foreign, db, migrated_database, server):
    look = Look(run, foreign)
    defer_and_show(look, foreign, db)
    fail(look, foreign)
    own = {"project": None, "url": migrated_database, "MIGRATOR_SHADOW_URL": server.url}
    assert look("revision", "-m", "nothing new", **own)["files"] == []
    assert look("upgrade", "--check-drift", **own)["drift"] == []
    for path in (*foreign.versions.glob("*c3*.py"), *foreign.versions.glob("*d4*.py")):
        path.unlink()
    assert look("checkpoint", MIGRATOR_SHADOW_URL=server.url)["revisions"] == 2
    assert look("rehearse", "--from", "74d1e9c0a3b6", "--rows", "10", **own)["revisions"]
    assert look.unseen() == []
    assert look.seen["every"] == documented("Every verb")


def defer_and_show(look, foreign, db):
    foreign.sql("a1", "CREATE TABLE t (id int PRIMARY KEY, n int)")
    assert look("upgrade")["outcome"] == "done"
    assert look("upgrade")["outcome"] == "nothing"
    db.rows(LIVE)
    foreign.sql("b2", "ALTER TABLE t DROP COLUMN n", down=("ALTER TABLE t ADD COLUMN n int",))
    assert look("upgrade")["waits_for"][0]["needs"][0]["column"] == "n"
    assert look("status")["deferred"][0]["revision"] == "b2"
    assert look("plan")["deferred"][0]["revision"] == "b2"
    assert len(look("history")["steps"]) == 1
    assert look("sql")["sql"]
    assert look("wait")["server_version"]
    assert look("doctor")["findings"][0]["about"] == "argv"
    assert look("check")["findings"] == []
    db.rows("UPDATE migrator.instance SET ended = now()")
    assert look("upgrade")["applied"]
    assert look("downgrade", "a1")["applied"]
    foreign.revision("c3", """op.backfill("t", set={"n": "1"}, where="n IS NULL")""", after="a1")
    assert look("upgrade", "c3")["exit_code"] == 0
    assert look("backfill", "status")["backfills"]


def fail(look, foreign):
    foreign.sql("d4", "SELECT 1 / 0", after="c3")
    assert look("upgrade", "d4")["outcome"] == "failed"
    assert look("upgrade", "nowhere")["outcome"] == "usage"
    assert look("upgrad")["verb"] == ""
