"""`contract`: what the models need of the schema, written as JSON; its digest names the release."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep_gate import bugs, exits, release
from lockstep_gate.errors import LockstepError

if TYPE_CHECKING:
    from collections.abc import Sequence


@bugs.told("contract")
def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m lockstep_gate contract") -> int:
    """Write the contract of the given models; the last line names the release."""
    asked = _parser(prog).parse_args(arguments)
    try:
        contract = release.contract_of(",".join(asked.models))
    except LockstepError as error:
        print(f"contract: {error}", file=sys.stderr)
        return error.code
    text = contract.to_json() + "\n"
    if asked.output == "-":
        sys.stdout.write(text)
        return exits.DONE.code
    try:
        Path(asked.output).write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"contract: cannot write {asked.output}: {error.strerror}", file=sys.stderr)
        return exits.USAGE.code
    tables = len(contract.tables)
    counted = f"{tables} table{'' if tables == 1 else 's'}"
    print(f"contract: wrote {asked.output}, {counted}, release {release.name_of_contract(contract)}")
    return exits.DONE.code


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write what a release with these models needs of the schema. Connects to nothing.",
        epilog=exits.line(exits.DONE, exits.REFUSED, exits.USAGE, exits.BUG),
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="package.module:Base",
        help="where the models are: a MetaData, a declarative base, SQLModel, Flask-SQLAlchemy's db, a list; "
        "or a models file (.py)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="the file to write (default: stdout)")
    return parser
