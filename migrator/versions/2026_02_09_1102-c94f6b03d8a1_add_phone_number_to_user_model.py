"""Add phone_number to User model

Revision ID: c94f6b03d8a1
Revises: b7e5a2190c4d
Create Date: 2026-02-09 11:02:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "c94f6b03d8a1"
down_revision = "b7e5a2190c4d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("phone_number", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "phone_number")
