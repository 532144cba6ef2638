"""What a killed run leaves behind beside the database is gone after the next."""


def test_a_copy_that_a_killed_run_left_is_dropped_by_the_next_and_nobody_elses_is(server, project, run, db):
    mine = db.one("SELECT oid FROM pg_database WHERE datname = current_database()")
    left, other = f"migrator_copy_{mine}_00ff00ff00ff", f"migrator_copy_{mine}0_00ff00ff00ff"
    for name in (left, other):
        server.execute("CREATE DATABASE {} TEMPLATE template0", name)
    try:
        project.outside("a1", "CREATE TABLE t (id int)")
        done = run("upgrade", project=project)
        assert done.code == 0, done.text
        assert "checked    a1   on a copy of the schema" in done.out
        there = db.rows("SELECT datname FROM pg_database WHERE datname LIKE 'migrator!_copy!_%%' ESCAPE '!'")
        assert (left,) not in there
        assert (other,) in there
    finally:
        for name in (left, other):
            server.execute("DROP DATABASE IF EXISTS {}", name)
