"""Request: what one run was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Request(NamedTuple):
    """The verb and how far; `choose(heads)` asks a command of Alembic's own for the steps, where one is under way."""

    verb: str = "upgrade"
    target: str = "head"
    accept_edited: str | None = None
    deferred_only: bool = False
    replay: bool = False  # on a throw-away database: it ends with the last step, the models may be ahead of it
    choose: Callable[[tuple[str, ...]], list[Any]] | None = None

    @property
    def is_plain(self) -> bool:
        """Tell whether it is for all that there is, which is what a manifest is of."""
        return self == Request()
