"""Request: what one run was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Request(NamedTuple):
    """The verb, how far, and how."""

    verb: str = "upgrade"
    target: str = "head"
    accept_edited: str | None = None  # the revision whose new seal is taken
    deferred_only: bool = False
    replay: bool = False  # on a throw-away database
    choose: Callable[[tuple[str, ...]], list[Any]] | None = None  # a command of Alembic's own, asked for its steps

    @property
    def is_plain(self) -> bool:
        """Tell whether it asks for all that is pending and nothing special, which a manifest can answer."""
        return self == Request()
