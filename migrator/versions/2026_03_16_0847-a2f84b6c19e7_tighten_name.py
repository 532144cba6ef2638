"""tighten users.name

The validated CHECK proves the rows, so SET NOT NULL reads none of them; then the CHECK has done its work.

Revision ID: a2f84b6c19e7
Revises: 74d1e9c0a3b6
Create Date: 2026-03-16 08:47:00+00:00
"""

from alembic import op

revision = "a2f84b6c19e7"
down_revision = "74d1e9c0a3b6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("users", "name", nullable=False)
    op.drop_constraint(op.f("ck_users_name_not_null"), "users", type_="check")


def downgrade() -> None:
    # While NOT NULL still holds there is nothing the scan could find; the table is locked as briefly as it can be.
    op.execute("ALTER TABLE users ADD CONSTRAINT ck_users_name_not_null CHECK (name IS NOT NULL) NOT VALID")
    op.execute("ALTER TABLE users VALIDATE CONSTRAINT ck_users_name_not_null")
    op.alter_column("users", "name", nullable=True)
