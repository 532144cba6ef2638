"""Tables: the code in, the tables that the documents show of it out. `python -m tests.docs.tables` writes them anew."""

from __future__ import annotations

import argparse
import re

from lockstep import cli, settings
from tests.docs.pages import ROOT, page

COMMON = {"help", "json", "debug", *(option.name for option in settings.OPTIONS)}


def verbs():
    return _table("| verb | what it does |", [(f"`{verb}`", text) for verb, text in cli.VERBS.items()])


def common_settings():
    rows = [(f"`{each.flag}`", f"`{each.variable}`", _shown(each.default), each.help) for each in settings.OPTIONS]
    return _table("| flag | variable | default | what it is |", rows)


def verb_settings():
    """The flags of single verbs, as their parsers have them."""
    rows = []
    for verb, parser in parsers().items():
        for action in parser._actions:
            if action.dest in COMMON:
                continue
            name = action.option_strings[-1] if action.option_strings else (action.metavar or action.dest).upper()
            text, variable = _split(action.help or "")
            rows.append((f"`{verb}`", f"`{name}`", f"`{variable}`" if variable else "", text))
    return _table("| verb | flag | variable | what it is |", rows)


def parsers():
    """The parser of each verb."""
    (choices,) = [each for each in cli.parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return choices.choices


BLOCKS = {
    "README.md": {"verbs": verbs},
    "docs/settings.md": {"settings": common_settings, "verb settings": verb_settings},
}


def write():
    for name, blocks in BLOCKS.items():
        text = page(name).text
        for block, make in blocks.items():
            head, _, rest = text.partition(f"<!-- {block} -->\n")
            text = f"{head}<!-- {block} -->\n{make()}<!-- /{block} -->" + rest.partition(f"<!-- /{block} -->")[2]
        (ROOT / name).write_text(text)


def _split(text):
    """Take '(env: NAME; default x)' off a help text."""
    match = re.search(r" ?\(env: (\w+)(?:; default ([^)]*))?\)", text)
    if not match:
        return text, ""
    rest = text[: match.start()] + text[match.end() :]
    return (f"{rest}; default {match[2]}" if match[2] else rest), match[1]


def _shown(default):
    return f"`{default}`" if default else ""


def _table(head, rows):
    line = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, line, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    write()
