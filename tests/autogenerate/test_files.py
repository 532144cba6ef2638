"""The files that are written: their names, their order, and that each stands on its own."""

import ast
import re
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Column, Index, Text

from tests.autogenerate.models import put, references, world

CHANGED = put(phone=lambda: Column("phone", Text), ix=lambda: Index("ix_users_phone", "phone"), fk=references)


def test_files_are_named_for_their_time_and_step_and_lie_in_their_order(project) -> None:
    made = project(world())
    written, _ = made.revision(world(CHANGED), "Add phone number")
    names = [Path(script.path).name for script in written]
    assert names == sorted(names)
    assert [re.sub(r"^\d{4}_\d\d_\d\d_\d{4}-[0-9a-f]{12}_", "", name) for name in names] == [
        "add_phone_number.py",
        "add_index_ix_users_phone.py",
        "add_fk_users_organisation_id_.py",
        "validate_fk_users_organisation_id_.py",
    ]
    assert [script.down_revision for script in written[1:]] == [script.revision for script in written[:-1]]


def test_a_given_id_is_the_first_ones(project) -> None:
    made = project(world())
    with made.engine.connect() as connection:
        config = made.config(world(CHANGED), connection)
        written = command.revision(config, "x", autogenerate=True, rev_id="first")
    assert written[0].revision == "first"
    assert written[1].down_revision == "first"
    made.upgrade()


def test_each_file_imports_what_it_uses_and_nothing_else(project) -> None:
    made = project(world())
    written, _ = made.revision(world(CHANGED))
    for script in written:
        tree = ast.parse(Path(script.path).read_text())
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert imported == imported & used


def test_work_that_cannot_run_in_a_transaction_stands_in_an_autocommit_block(project) -> None:
    written, _ = project(world()).revision(world(put(ix=lambda: Index("ix_users_code", "code"))))
    text = Path(written[0].path).read_text()
    assert (
        "    with op.get_context().autocommit_block():\n"
        "        op.create_index('ix_users_code', 'users', ['code'], unique=False, postgresql_concurrently=True)\n"
    ) in text


@pytest.mark.parametrize("message", ['say "hi" """', "back\\slash \\n", "ends with '", "${percent} % <%"])
def test_a_message_cannot_break_the_file(message: str, project) -> None:
    made = project(world())
    written, _ = made.revision(world(put(nick=lambda: Column("nick", Text))), message)
    ast.parse(Path(written[0].path).read_text())
    made.upgrade()


def test_an_empty_revision_by_hand_stays_one(project) -> None:
    made = project(world())
    with made.engine.connect() as connection:
        written = command.revision(made.config(world(), connection), "By hand")
    text = Path(written.path).read_text()
    assert "import sqlalchemy as sa\nfrom alembic import op\n" in text
    assert 'def upgrade() -> None:\n    """Apply the change."""\n    pass\n' in text
