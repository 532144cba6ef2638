"""Backfills in `upgrade`: a short one is done, a long one holds back what needs it."""


def test_a_short_backfill_is_done_by_the_upgrade_that_declares_it(people, run, db):
    project = people(2500)
    done = run("upgrade", project=project)
    assert done.code == 0, done.text
    assert db.rows("SELECT count(*), count(handle), count(*) FILTER (WHERE handle = lower(name)) FROM people") == [
        (2500, 2500, 2500)
    ]
    assert "backfill   people_handle   done   100 % of about" in done.out
    assert db.rows("SELECT name, revision, state FROM migrator.backfill") == [("people_handle", "b2", "done")]
    assert db.one("SELECT sum(rows) FROM migrator.backfill_range") == 2500
