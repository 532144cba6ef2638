<%
    body = "\n".join([upgrades or "", downgrades or ""])
    empty = "pass" == (upgrades or "pass").strip()
    title = (message or "empty message").replace("\\", "/").replace('"', "'").strip()
    title = title[:1].upper() + title[1:] + ("" if title.endswith((".", "!", "?")) else ".")
    after = comma(down_revision) or "nothing"

    def own(text):
        # Alembic's marks around what it generated: this file is yours from now on
        lines = [line for line in (text or "pass").splitlines() if not line.strip().startswith("# ### ")]
        if all(line.strip().startswith("#") for line in lines):
            lines.append("    pass")
        return "\n".join(lines).strip()
%>\
"""${title}

Revision ${up_revision}, after ${after}, ${create_date.strftime("%Y-%m-%d %H:%M %Z").strip()}.

One transaction. Its time limits, its lock and its retries are the migrator's: set none here. What
cannot run in a transaction goes into `with op.get_context().autocommit_block():`.
"""

% if "sa." in body or empty:
import sqlalchemy as sa
% endif
from alembic import op
% if imports:
${imports}
% endif

revision: str = ${repr(up_revision)}
down_revision: str | tuple[str, ...] | None = ${repr(down_revision)}
branch_labels: str | tuple[str, ...] | None = ${repr(branch_labels)}
depends_on: str | tuple[str, ...] | None = ${repr(depends_on)}


def upgrade() -> None:
    """Apply the change."""
    ${own(upgrades)}


def downgrade() -> None:
    """Take it back."""
    ${own(downgrades)}
