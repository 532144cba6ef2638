"""`migrator checkpoint` and what `migrator check` says of the file: it leads where they lead, or is refused."""

from __future__ import annotations

import contextlib
import secrets
import subprocess

import psycopg2
import pytest
from sqlalchemy import make_url

from lockstep import settings as given
from lockstep.develop import replay
from lockstep.develop.checkpoint import dump
from lockstep.develop.sandbox import binaries, throwaway
from lockstep.project import environment

OURS = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'migrator')"
# Asked of the catalog itself: what pg_dump might leave out would be missing on both sides of its own comparison.
CATALOG = (
    (
        f"SELECT n.nspname, c.relname, c.relkind, c.relpersistence, c.relacl, c.reloptions, c.relrowsecurity, "
        f"c.relforcerowsecurity, c.relreplident, c.relispopulated, c.relispartition, "
        f"pg_get_expr(c.relpartbound, c.oid), "
        f"c.relowner::regrole, obj_description(c.oid, 'pg_class') "
        f"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS}"
    ),
    (
        f"SELECT c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, "
        f"a.attgenerated, a.attstorage, a.attstattarget, a.attcollation::regcollation, a.attacl, a.attfdwoptions, "
        f"pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum), "
        f"row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum) "
        f"FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        f"WHERE {OURS} AND a.attnum > 0 AND NOT a.attisdropped"
    ),
    (
        f"SELECT k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, "
        f"k.condeferred, obj_description(k.oid, 'pg_constraint') FROM pg_constraint k "
        f"JOIN pg_namespace n ON n.oid = k.connamespace WHERE {OURS}"
    ),
    (
        f"SELECT pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisprimary, i.indisreplident, i.indisclustered "
        f"FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = "
        f"c.relnamespace WHERE {OURS}"
    ),
    (
        f"SELECT p.oid::regprocedure, p.prokind, CASE WHEN p.prokind <> 'a' THEN "
        f"pg_get_functiondef(p.oid) END, p.proacl, "
        f"p.proowner::regrole FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS}"
    ),
    (
        f"SELECT t.oid::regtype, t.typtype, t.typnotnull, t.typdefault, t.typacl, "
        f"t.typbasetype::regtype FROM pg_type t "
        f"JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {OURS}"
    ),
    (
        "SELECT enumtypid::regtype, enumlabel, row_number() OVER (PARTITION BY enumtypid ORDER BY enumsortorder) "
        "FROM pg_enum"
    ),
    (
        "SELECT tgrelid::regclass, tgname, tgenabled, tgisinternal, "
        "CASE WHEN NOT tgisinternal THEN pg_get_triggerdef(oid) END FROM pg_trigger WHERE NOT tgisinternal"
    ),
    "SELECT * FROM pg_policies",
    "SELECT * FROM pg_rules WHERE schemaname <> 'pg_catalog'",
    "SELECT * FROM pg_stats_ext WHERE false",
    "SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    "SELECT * FROM pg_sequences",
    "SELECT extname, extversion, extnamespace::regnamespace FROM pg_extension",
    "SELECT pubname, puballtables, pubinsert, pubupdate FROM pg_publication",
    "SELECT * FROM pg_publication_tables",
    "SELECT evtname, evtevent, evtenabled, evttags FROM pg_event_trigger",
    "SELECT defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, defaclacl FROM pg_default_acl",
    f"SELECT nspname, nspacl, obj_description(oid, 'pg_namespace') FROM pg_namespace n WHERE {OURS}",
    "SELECT rolname, rolcanlogin, rolconnlimit, rolvaliduntil, rolconfig FROM pg_roles WHERE rolname !~ '^pg_'",
    "SELECT roleid::regrole, member::regrole FROM pg_auth_members WHERE roleid >= 16384",
    "SELECT setrole, setconfig FROM pg_db_role_setting WHERE setdatabase <> 0",
    "SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast WHERE oid >= 16384",
    "SELECT cfgname, cfgnamespace::regnamespace FROM pg_ts_config WHERE oid >= 16384",
    "SELECT srvname, srvoptions FROM pg_foreign_server",
    "SELECT oprname, oprleft::regtype, oprcode FROM pg_operator WHERE oid >= 16384 AND oprname = '==='",
    "SELECT inhrelid::regclass, inhparent::regclass FROM pg_inherits",
    (
        'SELECT row(p.*)::text FROM (SELECT id, "Weird ""na""me", email, is_in, place, age, share, tags, data, raw, '
        "num, "
        "f, at, gap, ip, bits, chars, shout, boss, later FROM person) p"
    ),
    "SELECT row(p.*)::text, tableoid::regclass FROM part p",
    "SELECT row(p.*)::text FROM books.ledger p",
    "SELECT row(p.*)::text FROM ONLY heir p",
    "SELECT row(p.*)::text FROM counted p",
    "SELECT version_num FROM migrator.alembic_version",
)


def looked_at(url):
    """All of it, and pg_dump's own text."""
    lines = []
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET datestyle = 'ISO'")
        for query in CATALOG:
            cursor.execute(query)
            lines += sorted(f"{query[:40]}: {row}" for row in cursor.fetchall())
    own = dump._environment(make_url(url))
    command = [binaries.find() / "pg_dump", "--schema-only", "--exclude-schema=migrator", "--restrict-key=x"]
    text = subprocess.run(command, env=own, capture_output=True, text=True, check=True).stdout
    return lines, text


@pytest.mark.slow
def test_everything_comes_through(everything, run, monkeypatch):
    assert run("checkpoint", project=everything).code == 0
    file = everything.env_py.with_name("checkpoint.sql")
    monkeypatch.setenv("MIGRATOR_CONFIG", str(everything.ini))
    settings = given.load()
    project = environment.load(settings)
    with replay.at(settings, project) as one:
        expected = looked_at(one.url)
    with replay.at(settings, project, checkpoint=str(file)) as other:
        assert other.loaded
        found = looked_at(other.url)
    assert found == expected
    done = run("check", project=everything, url="")
    assert (done.code, "checked    that the checkpoint leads where its 6 revisions lead" in done.out) == (0, True)


def test_the_same_revisions_are_written_the_same(project, run, shadowed):
    project.sql("a1", "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())")
    project.sql("b2", "INSERT INTO t SELECT g FROM generate_series(12, 1, -1) g", "UPDATE t SET id = 100 WHERE id = 5")
    done = run("checkpoint", project=project, **shadowed)
    assert done.code == 0
    assert "left out   public.t.at: each database gets a value of its own, by the column's default" in done.out
    file = project.env_py.with_name("checkpoint.sql")
    first = file.read_text()
    assert run("checkpoint", project=project, **shadowed).code == 0
    assert file.read_text() == first
    assert [int(line.strip(" (),;")) for line in first.splitlines() if line.startswith("    (")] == [
        1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 100,
    ]  # fmt: skip


CANNOT = {
    "CREATE TABLE t (n float8); INSERT INTO t SELECT random()": "two replays give public.t.n other values",
    "CREATE TABLE t (at timestamptz DEFAULT now()); INSERT INTO t SELECT now() + interval '1 day'": "public.t.at other",
    "SELECT lo_create(0)": "large objects",
    "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()); END $$": "rights on the "
    "database itself",
    "DO $$ BEGIN EXECUTE format('CREATE TABLE t_%s (id int)', (random() * 1e9)::int); END $$": "two replays lead to "
    "different databases",
}


@pytest.mark.parametrize("statement", CANNOT)
def test_what_a_checkpoint_cannot_stand_for_is_refused(project, run, shadowed, statement):
    project.sql("a1", statement)
    done = run("checkpoint", project=project, **shadowed)
    assert done.code == 1
    assert CANNOT[statement] in done.last
    assert not list(project.env_py.parent.glob("checkpoint*"))


def test_a_password_has_no_place_in_it(project, run):
    project.sql("a1", "CREATE ROLE checkpoint_secret LOGIN PASSWORD 'hunter2'")
    done = run("checkpoint", project=project)
    assert (done.code, "gives role checkpoint_secret a password" in done.last) == (1, True)
    assert "hunter2" not in done.text


def test_replays_on_one_server_take_back_the_roles_they_made(project, run, shadowed, server, db):
    mark = secrets.token_hex(4)
    project.sql("a1", f"CREATE ROLE ours_{mark}", f"CREATE ROLE reader_{mark} IN ROLE ours_{mark}")
    project.sql("b2", "CREATE TABLE t ()", f"GRANT SELECT ON t TO reader_{mark}")
    done = run("checkpoint", project=project, **shadowed)
    assert done.code == 0, done.text
    text = project.env_py.with_name("checkpoint.sql").read_text()
    assert f'CREATE ROLE "reader_{mark}"' in text
    assert f'GRANT "ours_{mark}" TO "reader_{mark}"' in text
    assert run("check", project=project, url="", **shadowed).code == 0
    assert db.one("SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", f"%{mark}") == 0


def test_a_role_that_was_there_or_is_somebody_elses_stays(project, run, shadowed, server, db):
    mark = secrets.token_hex(4)
    make = "DO $$ BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    project.sql("a1", make.format(f"was_{mark}"), make.format(f"came_{mark}"))
    db.rows(f"CREATE ROLE was_{mark}")
    settings = given.load(env={"MIGRATOR_CONFIG": str(project.ini)})
    with throwaway.database(server.url, replays=environment.load(settings)):
        db.rows(f"CREATE ROLE came_{mark}; CREATE ROLE else_{mark}")
    try:
        left = db.rows("SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", f"%{mark}")
        assert left == [(f"else_{mark}",), (f"was_{mark}",)]
    finally:
        db.rows(f"DROP ROLE was_{mark}, else_{mark}")


def test_a_role_that_is_on_the_server_already_is_said_to_be(project, run, shadowed, db):
    mark = secrets.token_hex(4)
    project.sql("a1", f"CREATE ROLE used_{mark}")
    db.rows(f"CREATE ROLE used_{mark}")
    try:
        done = run("checkpoint", project=project, **shadowed)
        assert done.code == 4
        assert f'role "used_{mark}" already exists' in done.last
        assert "drop the role on the server of MIGRATOR_SHADOW_URL, or name a server without it" in done.last
    finally:
        db.rows(f"DROP ROLE used_{mark}")


def test_several_heads_are_refused(project, run, shadowed):
    project.sql("a1", "SELECT 1")
    project.sql("b2", "SELECT 1", after=None)
    done = run("checkpoint", project=project, **shadowed)
    assert (done.code, "there are 2 heads" in done.last) == (1, True)


def test_check_finds_a_checkpoint_that_leads_elsewhere(project, run, shadowed):
    (project.directory / "seed.sql").write_text("CREATE TABLE t (id int)")
    project.revision(
        "a1", f"import pathlib; op.execute(pathlib.Path({str(project.directory / 'seed.sql')!r}).read_text())"
    )
    assert run("checkpoint", project=project, **shadowed).code == 0
    assert run("check", project=project, url="", **shadowed).code == 0
    (project.directory / "seed.sql").write_text("CREATE TABLE t (id bigint)")  # what no seal covers
    done = run("check", project=project, url="", **shadowed)
    assert done.code == 1
    assert (
        "the checkpoint checkpoint.sql leads elsewhere than the revisions: schema: CREATE TABLE public.t" in done.text
    )


def test_an_older_checkpoint_is_checked_up_to_its_head(project, run, shadowed):
    project.sql("a1", "CREATE TABLE t (id int)")
    assert run("checkpoint", project=project, **shadowed).code == 0
    project.sql("b2", "DROP TABLE t")
    done = run("check", project=project, url="", **shadowed)
    assert (done.code, "checked    that the checkpoint leads where its 1 revisions lead" in done.out) == (0, True)
