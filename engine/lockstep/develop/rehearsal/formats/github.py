"""GitHub: findings as workflow commands, which GitHub shows beside the lines of a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.develop.rehearsal.formats.place import relative

if TYPE_CHECKING:
    from lockstep.develop.rehearsal.findings import Finding
    from lockstep.develop.rehearsal.rehearse import Rehearsal


def write(rehearsal: Rehearsal) -> str:
    """Return one command a finding."""
    return "".join(_command(one) for one in rehearsal.findings if not one.waived)


def _command(finding: Finding) -> str:
    text = finding.observed
    if finding.blocks:
        text += f"\nBlocks {finding.blocks}."
    if finding.instead:
        text += f"\nWrite instead:\n{finding.instead}"
    place = f"file={_property(relative(finding.path))},line={finding.line or 1}"
    return f"::{finding.level} {place},title={_property(f'{finding.rule}: {finding.title}')}::{_data(text)}\n"


# https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts: what the runner takes back.
def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
