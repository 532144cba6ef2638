"""Loading a models file alone: what it may hold, and one clear line for each that it may not."""

# ruff: noqa: E501 - examples read best with one entry a line
from __future__ import annotations

import sys

import pytest

from lockstep import contract

GOOD = """
from __future__ import annotations
import datetime as dt
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    metadata = MetaData()

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    born: Mapped[dt.date | None]
"""
BAD = {
    "from app.settings import URL": "imports app.settings; a models file imports SQLAlchemy and the standard library only",
    "import pydantic": "imports pydantic; a models file imports",
    "from . import settings": "imports .; a models file imports",
    "from .base import Base": "imports .base; a models file imports",
    "def f():\n    import alembic.op": ":2 imports alembic.op; a models file imports",
    "class": ":1 is not Python: invalid syntax",
    "x = 1\0": ":1 is not Python: source code string cannot contain null bytes",
    "import sys; sys.exit(3)": "calls sys.exit while it is imported",
    "print('hello')": "prints while it is imported: 'hello'",
    "x = 1\ny = x / 0": ":2 cannot be imported: ZeroDivisionError: division by zero",
    "from sqlalchemy import nothing": ":1 cannot be imported: ImportError: cannot import name 'nothing'",
    "x = 1": "has no MetaData and no declarative Base",
    "from sqlalchemy import *\na, b = MetaData(), MetaData()\nTable('t', a), Table('t', b)": "has 2 MetaData objects with tables",
    "import sqlalchemy as sa\nsa.Table('t', sa.MetaData(), sa.Column('c', sa.Nope))": ":2 cannot be imported: AttributeError",
}


@pytest.fixture
def models(tmp_path):
    def write(text: str):
        path = tmp_path / "models.py"
        path.write_text(text)
        return path

    return write


def test_a_models_file_is_loaded_alone_and_leaves_nothing_behind(models):
    path = models(GOOD)
    assert list(contract.load_models(path).tables) == ["users"]
    assert [one.name for one in path.parent.iterdir()] == ["models.py"]
    assert "models" not in sys.modules


def test_a_models_file_is_loaded_anew_each_time(models):
    assert contract.load_models(models(GOOD)) is not contract.load_models(models(GOOD))


@pytest.mark.parametrize("text", BAD)
def test_a_models_file_that_cannot_be_used_gets_one_clear_line(models, text):
    path = models(text)
    with pytest.raises(contract.ModelsError) as caught:
        contract.load_models(path)
    assert BAD[text] in caught.value.message
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message
    assert caught.value.cure
    assert caught.value.code == 2


def test_a_models_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        contract.ModelsError, match=r"cannot read the models file .*none\.py: No such file or directory"
    ):
        contract.load_models(tmp_path / "none.py")


def test_nothing_runs_before_the_imports_are_checked(models, tmp_path):
    touched = tmp_path / "touched"
    with pytest.raises(contract.ModelsError):
        contract.load_models(models(f"open({str(touched)!r}, 'w').close()\nimport requests"))
    assert not touched.exists()
