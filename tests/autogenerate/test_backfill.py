"""The backfill between a nullable column and NOT NULL: written where the value is known, shown where it is not."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Column

from tests.autogenerate.models import put, world


def written(project, code) -> tuple[str, tuple[str, ...], object]:
    made = project(world())
    scripts, review = made.revision(world(put(code=code)))
    return "".join(Path(script.path).read_text() for script in scripts), review, made


@pytest.mark.parametrize(
    ("default", "value"),
    [
        ("it's %", "\"'it''s %'\""),
        (sa.text("'a' || 1"), "\"'a' || 1\""),
        (sa.text("'a\\:b'"), "\"'a:b'\""),
        (sa.func.left("ab", 1), "\"left('ab', 1)\""),
    ],
)
def test_old_rows_are_filled_with_the_default_of_the_column(project, default, value) -> None:
    text, review, made = written(project, lambda: Column("code", sa.String(20), server_default=default, nullable=False))
    assert f"op.backfill('users', set={{'code': {value}}}, where='code IS NULL')" in text
    assert any("rows that hold NULL are filled with" in line for line in review)
    with made.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO users (email, code) VALUES ('n@example.org', NULL)")
    made.upgrade()
    with made.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM users WHERE code IS NULL").scalar()
    assert found == 0


def test_without_a_default_the_call_is_shown_to_be_filled_in(project) -> None:
    text, review, _ = written(project, lambda: Column("code", sa.String(20), nullable=False))
    assert "    # Rows that hold NULL have to be filled before the next revision: op.backfill(" in text
    assert any(
        "validating fails while a row holds NULL; say in the revision what to fill in" in line for line in review
    )
