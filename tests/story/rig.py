"""Rig: a release in, another that a developer wrote by hand from it out."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap

from alembic.script import ScriptDirectory

MODELS = "app/storage/models.py"


def written(before, directory, *revisions, models=(), commit="4444444dddddd"):
    """Copy a release, edit its models, and add revisions: (name, upgrade, downgrade) each, ids are the names."""
    for part in ("app", "migrator"):
        shutil.copytree(before.directory / part, directory / part, ignore=shutil.ignore_patterns("*.pyc.*"))
    release = dataclasses.replace(before, directory=directory, commit=commit)
    text = (directory / MODELS).read_text()
    for old, new in models:
        assert old in text
        text = text.replace(old, new)
    for path in (MODELS, "migrator/models.py"):
        (directory / path).write_text(text)
    parent = ScriptDirectory(str(directory / "migrator")).get_current_head()
    for name, upgrade, *rest in revisions:
        lines = [f'"""{name}"""', "import sqlalchemy as sa", "from alembic import op"]
        lines += [f"revision = {name!r}", f"down_revision = {parent!r}", "branch_labels = depends_on = None"]
        for function, body in (("upgrade", upgrade), ("downgrade", *(rest or ["pass"]))):
            lines += [f"def {function}():", textwrap.indent(textwrap.dedent(body).strip(), "    ")]
        (directory / f"migrator/versions/2099_01_01_0000-{name}_{name}.py").write_text("\n".join(lines) + "\n")
        parent = name
    return release


def sql(name, up, down=""):
    """A revision of one statement each way."""
    return name, f"op.execute({up!r})", f"op.execute({down!r})" if down else "pass"
