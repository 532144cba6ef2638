"""Commits that tests push: the project with one change on top."""

HEAD = "a2f84b6c19e7"
COLUMN = "    nickname: Mapped[str | None] = mapped_column(Text)\n"


TEXT = """'{name}'

import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {after!r}
branch_labels = None
depends_on = None


def upgrade():
    {up}


def downgrade():
    pass
"""


def _revision(id_, name, up, after=HEAD):
    return f"2026_06_01_0900-{id_}_{name}", TEXT.format(name=id_, up=up, after=after)


def with_nickname(models):
    """The models with one more column that may be NULL."""
    line = next(line for line in models.splitlines(keepends=True) if "phone_number" in line)
    return models.replace(line, line + COLUMN)


def without_phone_number(models):
    """The models with a column less."""
    return "".join(line for line in models.splitlines(keepends=True) if "phone_number" not in line)


NICKNAME = (_revision("0000000000a1", "add_nickname", "op.add_column('users', sa.Column('nickname', sa.Text()))"),)
FAILS = (_revision("0000000000a1", "add_nickname", "op.execute('ALTER TABLE users ADD COLUMN nickname no_such_type')"),)
DROP = (_revision("0000000000b1", "drop_phone_number", "op.drop_column('users', 'phone_number')"),)
# Two that no model shows: the gate stays open over them.
BESIDE = (_revision("0000000000c1", "describe_users", "op.execute(\"COMMENT ON TABLE users IS 'people'\")"),)
BESIDE_FAILS = (_revision("0000000000c1", "describe_users", "op.execute('SELECT 1 / 0')"),)
AFTER_BESIDE = (
    *BESIDE,
    _revision("0000000000c2", "say_whose", "op.execute('SELECT 1')", after="0000000000c1"),
)
AFTER_NICKNAME = (
    *NICKNAME,
    _revision(
        "0000000000a2", "add_motto", "op.add_column('users', sa.Column('motto', sa.Text()))", after="0000000000a1"
    ),
)


def with_motto(models):
    """The models with nickname and one column more."""
    return with_nickname(models).replace(COLUMN, COLUMN + COLUMN.replace("nickname", "motto"))


# What tests push, by name: the revisions and the models that a commit has besides.
ALL = {
    "one": ((), None),
    "two": (NICKNAME, with_nickname),
    "bad": (FAILS, with_nickname),
    "less": (DROP, without_phone_number),
    "beside": (BESIDE, None),
}
