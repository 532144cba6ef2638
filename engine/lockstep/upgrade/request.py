"""Request: what one run was asked for."""

from __future__ import annotations

from collections import namedtuple

_FIELDS = {
    "verb": "upgrade",
    "target": "head",
    "accept_edited": None,  # the revision whose new seal is taken
    "deferred_only": False,
    "replay": False,  # on a throw-away database
    "choose": None,  # asks a command of Alembic's own for the steps from given heads, where one is under way
}


class Request(namedtuple("Request", _FIELDS, defaults=_FIELDS.values())):
    """The verb, how far, and how."""

    __slots__ = ()

    @property
    def is_plain(self) -> bool:
        """Tell whether it is for all that there is, which is what a manifest is of."""
        return self == Request()
