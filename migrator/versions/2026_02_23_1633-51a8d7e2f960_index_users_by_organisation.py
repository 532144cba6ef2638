"""index users by organisation

Revision ID: 51a8d7e2f960
Revises: c94f6b03d8a1
Create Date: 2026-02-23 16:33:00+00:00
"""

from alembic import op

revision = "51a8d7e2f960"
down_revision = "c94f6b03d8a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(op.f("ix_users_organisation_id"), "users", ["organisation_id"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(op.f("ix_users_organisation_id"), table_name="users", postgresql_concurrently=True)
