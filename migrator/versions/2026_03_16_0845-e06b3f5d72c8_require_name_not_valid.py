"""require users.name of new rows

The first of three steps to NOT NULL that never scan the table under a lock that blocks clients.

Revision ID: e06b3f5d72c8
Revises: 51a8d7e2f960
Create Date: 2026-03-16 08:45:00+00:00
"""

from alembic import op

revision = "e06b3f5d72c8"
down_revision = "51a8d7e2f960"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET name = email WHERE name IS NULL")
    op.execute("ALTER TABLE users ADD CONSTRAINT ck_users_name_not_null CHECK (name IS NOT NULL) NOT VALID")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_users_name_not_null"), "users", type_="check")
