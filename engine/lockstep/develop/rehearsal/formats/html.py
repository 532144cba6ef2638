"""HTML: a rehearsal as one page to look at, with nothing to load: light and dark, on screen and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mako.template import Template

from lockstep.develop.rehearsal.formats import drawing
from lockstep.develop.rehearsal.formats.markdown import headline
from lockstep.develop.rehearsal.formats.place import relative

if TYPE_CHECKING:
    from lockstep.develop.rehearsal.rehearse import Rehearsal

_PAGE = Path(__file__).with_name("page.html.mako")


def write(rehearsal: Rehearsal) -> str:
    """Return the page."""
    # Everything that is shown is escaped; what is drawn is ours and is marked so in the template.
    page = Template(  # noqa: S702 - it does not load or run anything of others
        text=_PAGE.read_text(encoding="utf-8"), default_filters=["str", "h"], strict_undefined=True
    )
    return str(page.render(rehearsal=rehearsal, headline=headline(rehearsal), drawing=drawing, relative=relative))
