"""Peers: the tools that are measured side by side, each with a project of the same history on a database of its own.

What is not installed is left out by name. Nothing here is needed by the product or its tests; see docs/benchmarks.md
for where they are looked for.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import psycopg2
from sqlalchemy import make_url

from benchmarks.histories import history, tables
from lockstep import contract

if TYPE_CHECKING:
    from benchmarks.histories import Revision

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("BENCHMARK_PEERS", Path.home() / ".cache" / "migrator-benchmarks"))
FLOOR = """\
import os, psycopg2
connection = psycopg2.connect(os.environ["DATABASE_URL"])
cursor = connection.cursor()
cursor.execute("SELECT version_num FROM migrator.alembic_version")
assert cursor.fetchone()[0] == os.environ["HEAD"]
print("nothing to do")
"""
SCRIPT = "from lockstep.__main__ import run\nrun()\n"  # what the image has as /opt/venv/bin/migrator
ALEMBIC_ENV = """\
from alembic import context
import sqlalchemy as sa, os
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
with sa.create_engine(url, poolclass=sa.pool.NullPool).connect() as connection:
    context.configure(connection=connection, version_table_schema="migrator", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""


class Peer:
    """One tool: how its project is written, its database brought to where it stands, and its command."""

    name = ""
    is_warm = True  # by `stand`, which read all of its files from the disk

    def __init__(self, top: Path, count: int, *, only_tables: bool = False) -> None:
        self.top, self.count, self.only_tables = top, count, only_tables
        self.revisions = history(count, only_tables=only_tables)

    @classmethod
    def missing(cls) -> str:
        """Return why it cannot be measured; empty if it can."""
        return ""

    def write(self) -> None: ...
    def stand(self, url: str, at: int) -> None:
        """Let the tool believe that the first `at` revisions, which are in the schema, were applied by it."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def env(self, url: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "DATABASE_URL": url,
                "HEAD": self.revisions[-1].name, "LC_ALL": "C.UTF-8"}  # fmt: skip

    def run(self, url: str, command: list[str] | None = None) -> None:
        done = subprocess.run(
            command or self.command(), env=self.env(url), cwd=self.top, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: {done.stdout[-1500:]}{done.stderr[-1500:]}")


class Floor(Peer):
    name = "floor: Python + psycopg2 + one query"
    is_warm = False

    def write(self) -> None:
        (self.top / "floor.py").write_text(FLOOR)

    def command(self) -> list[str]:
        return [sys.executable, str(self.top / "floor.py")]


class Psql(Peer):
    name = "floor: psql"
    is_warm = False

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("psql") else "no psql"

    def write(self) -> None:
        (self.top / "all.sql").write_text(";\n".join(sql for item in self.revisions for sql in item.sql) + ";\n")

    def command(self) -> list[str]:
        return ["sh", "-c", 'exec psql -XAtq "$DATABASE_URL" -c "SELECT version_num FROM migrator.alembic_version"']


class PsqlAll(Psql):
    name = "floor: psql -1 of all SQL"

    def command(self) -> list[str]:
        return ["sh", "-c", f'exec psql -XAtq1 "$DATABASE_URL" -f {self.top / "all.sql"}']


class Migrator(Peer):
    name = "migrator upgrade"
    is_warm = False
    manifest = True
    built: ClassVar[dict[tuple[int, bool], Path]] = {}  # one for a history; all projects are links to its files

    def write(self) -> None:
        which = (self.count, self.only_tables)
        if which not in self.built:
            self._build(self.top / "built" / "migrator")
            self.built[which] = self.top / "built" / "migrator"
        here = self.top / "migrator"
        shutil.copytree(self.built[which], here, copy_function=os.link)
        (self.top / "run.py").write_text(SCRIPT)
        if not self.manifest:
            (here / "versions.manifest").unlink()

    def _without_cache(self, env: dict[str, str]) -> dict[str, str]:
        """Give a run no place to leave a manifest for the next one."""
        return env if self.manifest else env | {"XDG_CACHE_HOME": os.devnull}

    def _build(self, here: Path) -> None:
        shutil.copytree(ROOT / "migrator", here, ignore=shutil.ignore_patterns("__pycache__", "*.manifest", "versions"))
        (here / "versions").mkdir()
        _alembic_files(here / "versions", self.revisions)
        (here / "models.py").write_text(_models(tables(self.count, only_tables=self.only_tables)))
        for path in here.rglob("*"):
            os.utime(path, (1_700_000_000, 1_700_000_000))
        _compiled(here)
        bake = [sys.executable, "-m", "lockstep.project.manifest_writer"]
        self.run("postgresql://", ["env", f"PYTHONPATH={here.parent}", f"MIGRATOR_CONFIG={here}/alembic.ini", *bake])

    def env(self, url: str) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.top), "MIGRATOR_DATABASE_URL": url, "MIGRATOR_NO_UNKNOWN_RELEASE": "yes"}
        return self._without_cache(super().env(url) | own)

    def stand(self, url: str, at: int) -> None:
        _stamp(url, self.revisions[at - 1].name)
        self.run(url, [sys.executable, str(self.top / "run.py"), "upgrade", self.revisions[at - 1].name])

    def command(self) -> list[str]:
        return [sys.executable, str(self.top / "run.py"), "upgrade"]


class MigratorServing(Migrator):
    """The same while a release serves, whose contract every revision is checked against."""

    name = "migrator upgrade, a release serving"

    def stand(self, url: str, at: int) -> None:
        super().stand(url, at)
        needed = contract.derive(contract.load_models(str(self.top / "migrator" / "models.py"))).to_json()
        with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO migrator.release (digest, commit, contract) VALUES ('serving', 'x', %s)", (needed,)
            )
            cursor.execute("INSERT INTO migrator.instance (id, release) VALUES (gen_random_uuid(), 'serving')")


class MigratorCheckpoint(Migrator):
    """The same with a checkpoint at head, written once for a history."""

    name = "migrator upgrade, from a checkpoint"
    written: ClassVar[dict[tuple[int, bool], str]] = {}
    server: ClassVar[str] = ""  # where it may be replayed; else on embedded servers of its own

    def write(self) -> None:
        super().write()
        place, which = self.top / "migrator" / "checkpoint.sql", (self.count, self.only_tables)
        if which not in self.written:
            verb = [sys.executable, str(self.top / "run.py"), "checkpoint", "--deadline", "2h"]
            self.run("postgresql://", ["env", f"MIGRATOR_SHADOW_URL={self.server}", *verb])
            self.written[which] = place.read_text()
        else:
            place.write_text(self.written[which])


class MigratorCheckpointWhole(MigratorCheckpoint):
    name = "migrator upgrade, from a checkpoint, without the manifest"
    manifest = False


class PsqlCheckpoint(MigratorCheckpoint):
    name = "floor: psql -1 of that checkpoint"

    @classmethod
    def missing(cls) -> str:
        return Psql.missing()

    def command(self) -> list[str]:
        return ["sh", "-c", f'exec psql -XAtq1 "$DATABASE_URL" -f {self.top}/migrator/checkpoint.sql']


class MigratorModule(Migrator):
    """As a developer starts it."""

    name = "python -m migrator upgrade"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "migrator", "upgrade"]


class MigratorWhole(Migrator):
    name = "migrator upgrade, without the manifest"
    manifest = False


class Alembic(Peer):
    name = "alembic upgrade head"
    is_warm = False

    def write(self) -> None:
        (self.top / "versions").mkdir()
        _alembic_files(self.top / "versions", self.revisions)
        (self.top / "env.py").write_text(ALEMBIC_ENV)
        (self.top / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\npath_separator = os\n")
        _compiled(self.top)

    def stand(self, url: str, at: int) -> None:
        _stamp(url, self.revisions[at - 1].name)

    def command(self) -> list[str]:
        return [str(Path(sys.executable).with_name("alembic")), "upgrade", "head"]


class Django(Peer):
    name = "Django migrate"

    @classmethod
    def missing(cls) -> str:
        return "" if list(CACHE.glob("py/lib/*/site-packages/django")) else "Django is not installed"

    def write(self) -> None:
        app = self.top / "shop" / "migrations"
        app.mkdir(parents=True)
        for path in (app / "__init__.py", app.parent / "__init__.py"):
            path.write_text("")
        before = "[]"
        for item in self.revisions:
            (app / f"{item.name}.py").write_text(
                "from django.db import migrations\n\nclass Migration(migrations.Migration):\n"
                f"    dependencies = {before}\n    operations = [migrations.RunSQL({'; '.join(item.sql)!r})]\n"
            )
            before = f"[('shop', '{item.name}')]"
        (self.top / "settings.py").write_text(
            "import os, urllib.parse as u\nd = u.urlsplit(os.environ['DATABASE_URL'])\nSECRET_KEY = 'x'\n"
            "INSTALLED_APPS = ['shop']\nUSE_TZ = True\n"
            "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', "
            "'HOST': d.hostname, 'PORT': d.port, 'USER': d.username, 'PASSWORD': d.password, 'NAME': d.path[1:]}}\n"
        )
        _compiled(self.top)

    def env(self, url: str) -> dict[str, str]:
        return super().env(url) | {"PYTHONPATH": str(self.top), "DJANGO_SETTINGS_MODULE": "settings"}

    def stand(self, url: str, at: int) -> None:
        self.run(url, [*self.command(), "shop", self.revisions[at - 1].name, "--fake"])

    def command(self) -> list[str]:
        return [str(CACHE / "py/bin/python"), "-m", "django", "migrate", "--verbosity", "0"]


class Yoyo(Peer):
    name = "yoyo apply"

    @classmethod
    def missing(cls) -> str:
        return "" if (CACHE / "py/bin/yoyo").exists() else "yoyo-migrations is not installed"

    def write(self) -> None:
        (self.top / "m").mkdir()
        for item in self.revisions:
            (self.top / "m" / f"{item.name}.sql").write_text(";\n".join(item.sql) + ";\n")

    def stand(self, url: str, at: int) -> None:
        assert at == self.count
        self.run(url, self._verb("mark"))

    def _verb(self, verb: str) -> list[str]:
        return ["sh", "-c", f'exec {CACHE}/py/bin/yoyo {verb} --batch --no-config-file --database "$DATABASE_URL" m']

    def command(self) -> list[str]:
        return self._verb("apply")


class Dbmate(Peer):
    name = "dbmate up"
    is_warm = False

    @classmethod
    def missing(cls) -> str:
        return "" if (CACHE / "js/node_modules/.bin/dbmate").exists() else "dbmate is not installed"

    def write(self) -> None:
        (self.top / "m").mkdir()
        for item in self.revisions:
            text = "-- migrate:up\n" + ";\n".join(item.sql) + ";\n-- migrate:down\n"
            (self.top / "m" / f"{item.number:014d}_{item.name}.sql").write_text(text)

    def stand(self, url: str, at: int) -> None:
        values = ", ".join(f"('{item.number:014d}')" for item in self.revisions[:at])
        _execute(url, f"CREATE TABLE schema_migrations (version varchar PRIMARY KEY); "
                      f"INSERT INTO schema_migrations VALUES {values}")  # fmt: skip

    def env(self, url: str) -> dict[str, str]:
        return super().env(
            make_url(url).update_query_dict({"sslmode": "disable"}).render_as_string(hide_password=False)
        )

    def command(self) -> list[str]:
        [binary] = (CACHE / "js/node_modules/@dbmate").glob("*/bin/dbmate")  # not through Node, which is a wrapper
        return [str(binary), "--migrations-dir", "m", "--no-dump-schema", "migrate"]


class NodePgMigrate(Peer):
    name = "node-pg-migrate up"

    @classmethod
    def missing(cls) -> str:
        return "" if (CACHE / "js/node_modules/.bin/node-pg-migrate").exists() else "node-pg-migrate is not installed"

    def write(self) -> None:
        (self.top / "m").mkdir()
        for item in self.revisions:
            text = f"exports.up = (pgm) => {{ pgm.sql({'; '.join(item.sql)!r}); }};\nexports.down = () => {{}};\n"
            (self.top / "m" / f"{1_600_000_000_000 + item.number}_{item.name}.js").write_text(text)
        (self.top / "node_modules").symlink_to(CACHE / "js/node_modules")

    def stand(self, url: str, at: int) -> None:
        assert at == self.count
        self.run(url, [*self.command(), "--fake"])

    def command(self) -> list[str]:
        return [str(CACHE / "js/node_modules/.bin/node-pg-migrate"), "up", "-m", "m"]


class Sqitch(Peer):
    name = "sqitch deploy"

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("sqitch") else "sqitch is not installed"

    def write(self) -> None:
        (self.top / "deploy").mkdir()
        plan = ["%syntax-version=1.0.0", "%project=bench", ""]
        for item in self.revisions:
            (self.top / "deploy" / f"{item.name}.sql").write_text("BEGIN;\n" + ";\n".join(item.sql) + ";\nCOMMIT;\n")
            plan.append(f"{item.name} 2026-01-01T00:00:00Z a <a@example.org> # x")
        (self.top / "sqitch.plan").write_text("\n".join(plan) + "\n")
        (self.top / "sqitch.conf").write_text(
            "[core]\n    engine = pg\n[user]\n    name = a\n    email = a@example.org\n"
        )

    def stand(self, url: str, at: int) -> None:
        self.run(url, [*self.command(), "--log-only", "--to", self.revisions[at - 1].name])

    def command(self) -> list[str]:
        return ["sh", "-c", 'exec sqitch --quiet deploy "db:pg:${DATABASE_URL#postgresql:}" "$@"', "sqitch"]


PEERS = (Alembic, Django, Yoyo, Dbmate, NodePgMigrate, Sqitch)


def _compiled(top: Path) -> None:
    """Compile what is imported, as an image has it; by all processors."""
    compileall.compile_dir(str(top), quiet=1, workers=0)


def _alembic_files(versions: Path, revisions: list[Revision]) -> None:
    before = None
    for item in revisions:
        body = "\n".join(f"    {line}" for line in item.operations)
        (versions / f"{item.name}_x.py").write_text(
            f'"""{item.name}"""\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{item.name}"\n'
            f"down_revision = {before!r}\nbranch_labels = None\ndepends_on = None\n\n\ndef upgrade():\n{body}\n\n\n"
            "def downgrade():\n    pass\n"
        )
        before = item.name


def _models(count: int) -> str:
    return (
        "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase\n\n"
        "class Base(DeclarativeBase):\n    pass\n"
        + (
            "".join(
                f'\nclass T{n}(Base):\n    __tablename__ = "t{n}"\n'
                "    id = sa.Column(sa.BigInteger, sa.Identity(always=True), primary_key=True)\n"
                "    name = sa.Column(sa.Text, nullable=False)\n"
                for n in range(count)
            )
        )
    )


def _execute(url: str, sql: str) -> None:
    import contextlib  # noqa: PLC0415

    import psycopg2  # noqa: PLC0415

    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(sql)


def _stamp(url: str, revision: str) -> None:
    _execute(url, "CREATE SCHEMA IF NOT EXISTS migrator; CREATE TABLE IF NOT EXISTS migrator.alembic_version "
                  "(version_num varchar(32) PRIMARY KEY); DELETE FROM migrator.alembic_version; "
                  f"INSERT INTO migrator.alembic_version VALUES ('{revision}')")  # fmt: skip
