"""validate users organisation

Revision ID: b7e5a2190c4d
Revises: 8d20c4e6f17b
Create Date: 2026-01-26 14:11:00+00:00
"""

from alembic import op

revision = "b7e5a2190c4d"
down_revision = "8d20c4e6f17b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE users VALIDATE CONSTRAINT fk_users_organisation_id_organisations")


def downgrade() -> None:
    """Nothing to take back: a validated constraint checks the same rows as one that is not."""
