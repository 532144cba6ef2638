"""validate users.name

Revision ID: 74d1e9c0a3b6
Revises: e06b3f5d72c8
Create Date: 2026-03-16 08:46:00+00:00
"""

from alembic import op

revision = "74d1e9c0a3b6"
down_revision = "e06b3f5d72c8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users VALIDATE CONSTRAINT ck_users_name_not_null")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_users_name_not_null"), "users", type_="check")
    op.execute("ALTER TABLE users ADD CONSTRAINT ck_users_name_not_null CHECK (name IS NOT NULL) NOT VALID")
