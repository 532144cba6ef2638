"""Seal: what breaks it and what does not."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import StepFailed
from lockstep.project import seal

BASE = '''
"""add users

Revision ID: a1
"""
from typing import Sequence, Union

from os import path, sep
import sqlalchemy as sa
from alembic import op

revision: str = "a1"
down_revision: Union[str, None] = None
branch_labels: Union[str, Sequence[str], None] = None


def upgrade() -> None:
    """Apply."""
    op.create_table("users", sa.Column("id", sa.BigInteger(), nullable=False), sa.Column("n", sa.Integer()))
    for number in range(-3, 10):
        if number % 2 == 0:
            op.execute(f"INSERT INTO users VALUES ({number}, 1)")
        else:
            pass


def downgrade() -> None:
    op.drop_table("users")
'''

SAME = {
    "a comment": BASE.replace("    op.drop_table", "    # away with it\n    op.drop_table"),
    "a licence header": "# SPDX-License-Identifier: MIT\n" + BASE,
    "another docstring": BASE.replace("add users", "add the users table").replace('    """Apply."""\n', ""),
    "a docstring more": BASE.replace("    op.drop_table", '    """Take back."""\n    op.drop_table'),
    "another format": BASE.replace('("users", sa.Col', '(\n        "users",\n        sa.Col').replace(
        "sa.Integer()))", "sa.Integer()),\n    )"
    ),
    "other quotes": BASE.replace('op.drop_table("users")', "op.drop_table('users')"),
    "a string in two parts": BASE.replace('op.drop_table("users")', 'op.drop_table("us" "ers")'),
    "parentheses": BASE.replace("number % 2 == 0", "(number % 2) == 0"),
    "no annotations": BASE.replace("revision: str =", "revision =").replace("-> None", ""),
    "newer annotations": BASE.replace("Union[str, None]", "str | None"),
    "no typing import": BASE.replace("from typing import Sequence, Union\n", ""),
    "import typing": BASE.replace("from typing import Sequence, Union\n", "import typing\nimport collections.abc\n"),
    "a block for the type checker": BASE.replace(
        "from typing import Sequence, Union\n",
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from collections.abc import Sequence\n",
    ),
    "imports in another order": BASE.replace(
        "import sqlalchemy as sa\nfrom alembic import op\n", "from alembic import op\n\nimport sqlalchemy as sa\n"
    ),
    "imported names in another order": BASE.replace("import path, sep", "import sep, path"),
    "windows line ends": BASE.replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + BASE,
    "no needless pass": BASE.replace("        else:\n            pass\n", ""),
}

# ruff: noqa: E501, Q000 - a case a line
OTHER = {
    "another name": BASE.replace('drop_table("users")', 'drop_table("user")'),
    "another number": BASE.replace("range(-3,", "range(-2,"),
    "another sign": BASE.replace("range(-3,", "range(3,"),
    "another type": BASE.replace("sa.Integer()", "sa.Text()"),
    "True for False": BASE.replace("nullable=False", "nullable=True"),
    "0 for False": BASE.replace("nullable=False", "nullable=0"),
    "1.0 for 1": BASE.replace("% 2 == 0", "% 2.0 == 0"),
    "an argument less": BASE.replace(", nullable=False", ""),
    "an argument by another name": BASE.replace("nullable=False", "index=False"),
    "a statement more": BASE.replace("    op.drop_table", '    op.execute("SELECT 1")\n    op.drop_table'),
    "a statement less": BASE.replace('    op.drop_table("users")', "    pass"),
    "another order": BASE.replace('sa.Column("id", sa.BigInteger(), nullable=False), sa.Column("n", sa.Integer())',
                                  'sa.Column("n", sa.Integer()), sa.Column("id", sa.BigInteger(), nullable=False)'),
    "another comparison": BASE.replace("== 0", "!= 0"),
    "a branch changed over": BASE.replace("        else:\n            pass\n", '        else:\n            op.execute("x")\n'),
    "another parent": BASE.replace("= None\nbranch", '= "a0"\nbranch'),
    "another id": BASE.replace('"a1"\n', '"a2"\n'),
    "text in an f-string": BASE.replace("VALUES ({number}, 1)", "VALUES ({number}, 2)"),
    "a conversion in an f-string": BASE.replace("{number}", "{number!r}"),
    "a statement moved": BASE.replace('    op.create_table', '    op.f("x")\n    op.create_table'),
    "another import": BASE.replace("import sqlalchemy as sa", "import sqlmodel as sa"),
    "a decorator": BASE.replace("def downgrade", "@op.f\ndef downgrade"),
    "bytes for text": BASE.replace('drop_table("users")', 'drop_table(b"users")'),
    "upgrade and downgrade changed over": BASE.replace("def upgrade", "def x").replace("def downgrade", "def upgrade").replace("def x", "def downgrade"),
}  # fmt: skip


def of(text):
    return seal.of_source(text.encode())


@pytest.mark.parametrize("name", SAME)
def test_what_means_the_same_keeps_the_seal(name):
    assert SAME[name] != BASE
    assert of(SAME[name]) == of(BASE)


@pytest.mark.parametrize("name", OTHER)
def test_what_means_something_else_breaks_the_seal(name):
    assert OTHER[name] != BASE
    assert of(OTHER[name]) != of(BASE)


def test_all_changes_have_seals_of_their_own():
    assert len({of(text) for text in OTHER.values()}) == len(OTHER)


def test_the_seal_is_the_same_on_every_python():
    # Written down from one Python; whichever runs this has to come to the same.
    assert of(BASE) == "ast1:09ca566b9fd241011304c4394767ba40cab4bba3619fc5ff6d828c115cc2406d"


@given(
    st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.booleans(), st.none()),
    st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.booleans(), st.none()),
)
def test_two_constants_share_a_seal_only_if_they_are_written_alike(one, other):
    assert (of(f"x = {one!r}") == of(f"x = {other!r}")) == (repr(one) == repr(other))


@pytest.mark.parametrize(
    "source",
    [
        b"def upgrade(:\n",
        b"\0",
        b"# coding: nonsense\nx = 1\n",
        b"\xff\xfe",
        b"x = " + b"(" * 500,
        b"x = " + b"9" * 5000,
    ],
)
def test_a_file_that_is_no_python_is_one_clear_error(source):
    with contextlib.suppress(StepFailed) if source.startswith(b"x = ") else pytest.raises(StepFailed) as caught:
        seal.of_source(source, "2026_x.py")
    if caught:
        assert "2026_x.py is not valid Python" in caught.value.message
        assert "\n" not in caught.value.message


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A file whose seal is known, as from a manifest."""
    monkeypatch.setattr(seal, "_known", {})
    path = tmp_path / "a1.py"
    path.write_text(BASE)
    seal.know({seal.digest_of(BASE.encode()): seal.of_source(BASE.encode())})
    return path


def test_a_known_seal_is_that_of_the_very_bytes_alone(kept):
    assert seal._known == {hashlib.sha256(BASE.encode()).hexdigest(): seal.of_source(BASE.encode())}
    edited = BASE.replace("Integer", "BigInteger")
    kept.write_text(edited)
    assert seal.of_file(kept) != next(iter(seal._known.values()))
    with pytest.MonkeyPatch.context() as without:
        without.setattr(seal, "_known", {})
        assert seal.of_file(kept) == seal.of_source(edited.encode())


@pytest.mark.parametrize("text", ["", "x", "\x00\xff", "ast0:1", "ast1:12", " ast1:" + "0" * 64])
def test_seals_of_another_kind_are_made_anew(text, monkeypatch):
    monkeypatch.setattr(seal, "_known", {})
    was = seal.of_source(BASE.encode())
    seal.know({seal.digest_of(BASE.encode()): text})
    assert seal._known == {}
    assert seal.of_source(BASE.encode()) == was
