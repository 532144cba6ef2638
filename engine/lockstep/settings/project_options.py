"""Project options: what a project says in `[lockstep]` of alembic.ini, or `[tool.lockstep]` of pyproject.toml.

This is the one reader of them. A flag or a variable of the same name stands above; `settings.load` joins the three.
"""

from __future__ import annotations

import configparser
import os
from typing import Any, NamedTuple

from lockstep.errors import Usage
from lockstep.settings import find_project

SECTION = "lockstep"
_PATHS = ("models", "models_source", "contract", "checkpoint")
_NAMES = ("schemas", "tables", "not_ours")  # of which there may be several
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class ProjectOptions(NamedTuple):
    """What one project declares; '' and False: nothing. Paths are absolute."""

    models: str = ""
    models_source: str = ""
    contract: str = ""
    app: str = ""
    app_role: str = ""
    app_schema: str = ""
    exposed_schemas: str = ""
    checkpoint: str = ""
    safe_autogenerate: bool = False
    no_temporary_tables: bool = False
    schemas: str = ""
    tables: str = ""
    not_ours: str = ""
    throwaway_seed: str = ""


def read(config: str, section: str = "alembic") -> ProjectOptions:
    """Return the options of a configuration file; raise Usage for one that is unknown or wrong."""
    if not config:
        return ProjectOptions()
    ini, toml = find_project.files(config)
    given: dict[str, tuple[Any, str]] = {}
    if toml:
        table = _of_toml(toml).get("tool", {}).get(SECTION, {})
        given |= _table(table, f"[tool.{SECTION}] in {os.path.basename(toml)}", toml)  # noqa: PTH119
    if ini:
        parser = _parsed(ini)
        where = f"[{SECTION}] in {os.path.basename(ini)}"  # noqa: PTH119
        given = {name: (text, f"[{section}]") for name, text in _of_alembic(parser, section, ini).items()} | given
        given |= {name: (text, where) for name, text in _items(parser, SECTION, ini).items()}
    return ProjectOptions(**{name: _value(name, *one, config) for name, one in given.items()})


def database_url(config: str, section: str = "alembic") -> str:
    """Return the `sqlalchemy.url` of an alembic.ini; '' where there is none, or only what `alembic init` wrote."""
    ini, _ = find_project.files(config) if config else (None, None)
    if not ini:
        return ""
    url = _items(_parsed(ini), section, ini, only=("sqlalchemy.url",)).get("sqlalchemy.url", "").strip()
    return "" if url.startswith("driver://") else url


def _parsed(ini: str) -> configparser.ConfigParser:
    here = os.path.dirname(ini).replace("%", "%%")  # noqa: PTH120
    parser = configparser.ConfigParser({"here": here})
    try:
        parser.read(ini, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _unusable(ini, error) from None
    return parser


def _items(parser: configparser.ConfigParser, section: str, ini: str, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what a section says itself, its %(names)s filled in; nothing where it is not there."""
    if not parser.has_section(section):
        return {}
    try:
        names = only or [name for name in parser.options(section) if name not in parser.defaults()]
        return {name: parser.get(section, name) for name in names if parser.has_option(section, name)}
    except configparser.Error as error:
        raise _unusable(ini, error) from None


def _of_alembic(parser: configparser.ConfigParser, section: str, ini: str) -> dict[str, str]:
    """Return the two options that stood in Alembic's own section before there was one for them."""
    return _items(parser, section, ini, only=("models", "models_source"))


def _of_toml(toml: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - few projects have one

    try:
        with open(toml, "rb") as file:  # noqa: PTH123
            return tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unusable(toml, error) from None


def _table(table: Any, where: str, toml: str) -> dict[str, tuple[Any, str]]:
    if not isinstance(table, dict):
        raise Usage(f"{where} is not a table", "write its options one a line below it")
    here = os.path.dirname(toml)  # noqa: PTH120
    filled = {name: one.replace("%(here)s", here) if isinstance(one, str) else one for name, one in table.items()}
    return {name: (one, where) for name, one in filled.items()}


def _value(name: str, given: Any, where: str, config: str) -> Any:
    """Return one option as the record has it; raise Usage for one that is unknown or wrong."""
    if name not in ProjectOptions._fields:
        import difflib  # noqa: PLC0415

        near = difflib.get_close_matches(name, ProjectOptions._fields, 1)
        known = ", ".join(ProjectOptions._fields)
        raise Usage(f"{where}: there is no option {name!r}", f"did you mean {near[0]}?" if near else f"one of: {known}")
    if isinstance(ProjectOptions._field_defaults[name], bool):
        if isinstance(given, bool):
            return given
        if not isinstance(given, str) or given.strip().lower() not in (*_YES, *_NO):
            raise Usage(f"{where}: {name} is {given!r}", "write yes or no")
        return given.strip().lower() in _YES
    if name in _NAMES and isinstance(given, list) and all(isinstance(one, str) for one in given):
        given = ", ".join(given)
    if not isinstance(given, str) or "\n" in given.strip():
        raise Usage(f"{where}: {name} is {given!r}", "write one text on one line")
    text = given.strip()
    return _absolute(text, config) if name in _PATHS and not is_attribute(text) and text != "none" else text


def is_attribute(models: str) -> bool:
    """Tell whether `models` names what to import (`shop.models:Base`, several joined by commas), and no file."""
    return bool(models) and all(map(_is_attribute, models.split(",")))


def _is_attribute(path: str) -> bool:
    module, colon, name = path.strip().partition(":")
    return bool(colon and name) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def _absolute(path: str, config: str) -> str:
    """Return a path that the configuration names, as seen from where the configuration lies."""
    return os.path.join(os.path.dirname(config), path) if path else ""  # noqa: PTH118, PTH120


def _unusable(file: str, error: Exception) -> Usage:
    return Usage(f"{os.path.basename(file)} cannot be used: {' '.join(str(error).split())}", "correct it")  # noqa: PTH119
