"""Release: a copy of the app and the migrator in, edited for the story, out: what a checkout of one commit would hold.

Release 2 drops users.phone_number, adds the required users.locale, and renames users.name to full_name by adding,
copying and dropping. Its revisions are written by `migrator revision`; what no comparison can find is added by hand,
as a developer would: the trigger that keeps both names equal while both releases write, and the copy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local.state import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from local.story.place import Place

MIGRATOR_SECONDS = 120
MODELS = "app/storage/models.py"
NAME = "    name: Mapped[str] = mapped_column(Text)\n"
PHONE = "    phone_number: Mapped[str | None] = mapped_column(Text)\n"
FULL_NAME = "    full_name: Mapped[str | None] = mapped_column(Text)\n"
LOCALE = '    locale: Mapped[str] = mapped_column(Text, server_default="en")\n'

BOTH_NAMES = '''
    # While releases that know one name each serve side by side, what either writes is there for the other.
    op.execute("""
        CREATE FUNCTION users_both_names() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.full_name := coalesce(NEW.full_name, NEW.name);
                NEW.name := coalesce(NEW.name, NEW.full_name);
            ELSIF NEW.name IS DISTINCT FROM OLD.name THEN
                NEW.full_name := NEW.name;
            ELSIF NEW.full_name IS DISTINCT FROM OLD.full_name THEN
                NEW.name := NEW.full_name;
            END IF;
            RETURN NEW;
        END $$""")
    op.execute(
        "CREATE TRIGGER users_both_names BEFORE INSERT OR UPDATE ON users "
        "FOR EACH ROW EXECUTE FUNCTION users_both_names()"
    )
'''
NO_MORE_BOTH_NAMES = """
    op.execute("DROP TRIGGER users_both_names ON users")
    op.execute("DROP FUNCTION users_both_names()")
"""
COPY = """
    op.execute("UPDATE users SET full_name = name WHERE full_name IS NULL")
"""


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """Return the last word."""
        return (self.out + self.err).strip().splitlines()[-1]


@dataclass(frozen=True)
class Release:
    """The code of one commit."""

    directory: Path
    commit: str
    name_of_user: str = "name"
    processes: Any = subprocess  # what starts them, by `run` and `Popen`

    def migrator(self, place: Place, *arguments: str, **variables: str) -> Done:
        """Run a verb of this release's migrator."""
        return self._run(["-m", "migrator", *arguments], place.of_migrator() | variables)

    def gate(self, place: Place) -> Done:
        """Ask the gate, as the app's pre-deploy command does."""
        return self._run(["-m", "app.gate"], place.of_app())

    def environment(self, given: dict[str, str]) -> dict[str, str]:
        """Return an environment with this release's code and commit in it."""
        return {**given, "PYTHONPATH": str(self.directory), "IMAGE_COMMIT": self.commit}

    def new_user(self, name: str, organisation: int) -> dict[str, Any]:
        """Return the body that this release's clients add a user with."""
        other = {"phone_number": "+49 30 1234"} if self.name_of_user == "name" else {"locale": "de"}
        return {"email": f"{name}@example.org", self.name_of_user: name, "organisation_id": organisation, **other}

    def _run(self, arguments: list[str], environment: dict[str, str]) -> Done:
        done = self.processes.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MIGRATOR_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


def first(directory: Path) -> Release:
    """Return release 1: the product as it is."""
    return Release(_copied(ROOT, directory), "1111111aaaaaaa")


def second(place: Place, before: Release, directory: Path) -> Release:
    """Return release 2, written from release 1 as a developer would."""
    release = replace(
        before, directory=_copied(before.directory, directory), commit="2222222bbbbbbb", name_of_user="full_name"
    )
    _edit(release, MODELS, (NAME, NAME + FULL_NAME + LOCALE))
    _add_to_upgrade(_written(release, place, "-m", "add full name and locale"), BOTH_NAMES)
    _add_to_upgrade(_written(release, place, "--empty", "-m", "copy names"), COPY)
    _edit(release, MODELS, (NAME + FULL_NAME, FULL_NAME), (PHONE, ""))
    _add_to_upgrade(_written(release, place, "-m", "drop name and phone number"), NO_MORE_BOTH_NAMES)
    _edit(
        release,
        "app/users.py",
        ("    name: Line\n", '    full_name: Line\n    locale: Line = "en"\n'),
        ('    name: Line = ""\n', '    full_name: Line = ""\n    locale: Line = ""\n'),
        ("    phone_number: PhoneNumber | None = None\n", ""),
        (", PhoneNumber", ""),
    )
    return release


def broken(before: Release, directory: Path) -> Release:
    """Return a build of a release whose app does not start."""
    release = replace(before, directory=_copied(before.directory, directory), commit="3333333ccccccc")
    _edit(release, "app/application.py", ("def make(", 'raise RuntimeError("a bug")\n\n\ndef make('))
    return release


def _copied(source: Path, directory: Path) -> Path:
    for name in ("app", "migrator"):
        # With the bytecode, but not with what is just being written of it.
        shutil.copytree(source / name, directory / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    return directory


def _edit(release: Release, path: str, *changes: tuple[str, str]) -> None:
    file = release.directory / path
    text = file.read_text()
    for old, new in changes:
        if old not in text:
            raise RuntimeError(f"the story is out of date: {path} does not hold {old!r}")
        text = text.replace(old, new)
    file.write_text(text)


def _written(release: Release, place: Place, *arguments: str) -> Path:
    """Let the migrator write a revision and return the last of its files."""
    done = release.migrator(place, "revision", *arguments)
    files = re.findall(r"^wrote +(.+)$", done.out, re.MULTILINE)
    if done.code or not files:
        raise RuntimeError(f"migrator revision: exit {done.code}\n{done.out}{done.err}")
    return release.directory / files[-1]


def _add_to_upgrade(file: Path, lines: str) -> None:
    head, middle, tail = file.read_text().partition("\n\n\ndef downgrade() -> None:")
    head = head.removesuffix("\n    pass")
    file.write_text(head + lines.rstrip() + middle + tail)
