"""add organisations

Revision ID: 8d20c4e6f17b
Revises: 3f1c7a90b5d2
Create Date: 2026-01-26 14:10:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "8d20c4e6f17b"
down_revision = "3f1c7a90b5d2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organisations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisations")),
        sa.UniqueConstraint("name", name=op.f("uq_organisations_name")),
    )
    op.add_column("users", sa.Column("organisation_id", sa.BigInteger(), nullable=True))
    # NOT VALID: the existing rows are looked at by the next revision, under a lock that blocks nobody.
    op.create_foreign_key(
        op.f("fk_users_organisation_id_organisations"),
        "users",
        "organisations",
        ["organisation_id"],
        ["id"],
        ondelete="SET NULL",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_users_organisation_id_organisations"), "users", type_="foreignkey")
    op.drop_column("users", "organisation_id")
    op.drop_table("organisations")
