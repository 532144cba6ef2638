"""Parsing: the whole command line and its help, by argparse; the help of each flag names its environment variable."""

from __future__ import annotations

import argparse

from lockstep import __version__, settings
from lockstep.backfill import arguments as backfill_arguments
from lockstep.develop.rehearsal import arguments as rehearsal_arguments
from lockstep.errors import Usage
from lockstep.flags import OWN, VERBS, default, switched

_ELSEWHERE = {"backfill": backfill_arguments.add, "rehearse": rehearsal_arguments.add}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Usage(message, f"see `{self.prog} --help`")


def build() -> argparse.ArgumentParser:
    """Return the parser of all verbs; every flag names its environment variable."""
    top = _Parser(prog="migrator", description="Ship schema changes on PostgreSQL, before the app that needs them.")
    top.add_argument("--version", action="version", version=f"migrator {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        _common(sub)
        _own(verb, sub)
    return top


def _common(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--json",
        action="store_true",
        default=switched("MIGRATOR_JSON"),
        help="print one JSON document (env: MIGRATOR_JSON)",
    )
    sub.add_argument(
        "--debug", action="store_true", default=switched("MIGRATOR_DEBUG"), help="show tracebacks (env: MIGRATOR_DEBUG)"
    )
    for option in settings.OPTIONS:
        otherwise = f"; default {option.default}" if option.default else ""
        text = f"{option.help} (env: {option.variable}{otherwise})"
        if option.kind == "switch":
            sub.add_argument(option.flag, dest=option.name, action="store_const", const="yes", help=text)
        else:
            names = [name for name in (option.short, option.flag) if name]
            more = {"action": "append"} if option.kind == "pairs" else {}
            metavar = {"duration": "TIME", "pairs": "KEY=VALUE"}.get(option.kind, "TEXT")
            sub.add_argument(*names, dest=option.name, metavar=metavar, help=text, **more)


def _own(verb: str, sub: argparse.ArgumentParser) -> None:
    """Add what one verb alone takes."""
    for names, text, more in OWN.get(verb, ()):
        variable = more.get("env")
        told = f"{text} (env: {variable})" if variable else text
        if more.get("switch"):
            sub.add_argument(*names, action="store_true", default=default(more), help=told)
        else:
            rest = {name: more[name] for name in ("nargs", "metavar", "type") if name in more}
            sub.add_argument(*names, default=default(more), help=told, **rest)
    if verb in _ELSEWHERE:
        _ELSEWHERE[verb](sub)
