"""Autogenerate: write what changed in the models as revision files that block nobody out of a table.

Alembic finds the difference; what is here chooses what it looks at, and takes what it found apart into
revisions that are each one short transaction, or refuses what no order of steps makes safe.
"""

from lockstep.develop.autogenerate.options import beside, options
from lockstep.develop.autogenerate.refusal import Refusal
from lockstep.develop.autogenerate.rewrite import hook, review

__all__ = ["Refusal", "beside", "hook", "options", "review"]
