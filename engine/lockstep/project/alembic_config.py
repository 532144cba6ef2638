"""Alembic's own Config for a run: of the files that were found, or the one that a caller in Python made.

What the stock command leaves there for env.py (`-x`, `-n`, its options) is there as well.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import os
import re
from typing import TYPE_CHECKING, Any

import alembic
import sqlalchemy
from alembic.config import Config

from lockstep.errors import Usage
from lockstep.settings import find_project

if TYPE_CHECKING:
    from lockstep.settings import Settings

OLDEST_ALEMBIC, OLDEST_SQLALCHEMY = (1, 11), (2, 0)
_TAKES_TOML = "toml_file" in inspect.signature(Config.__init__).parameters  # since Alembic 1.16


def made(settings: Settings) -> Config:
    """Return the configuration of a run; raise Usage where no project was found, or what is installed is too old."""
    _require_versions()
    config = _copied(settings.alembic) if settings.alembic else _of_files(settings)
    if "configure_logger" not in config.attributes:
        config.attributes["configure_logger"] = False
    config.cmd_opts = _options(config.cmd_opts, settings)
    if not script_location(config):
        _beside_env(config)
    return config


def script_location(config: Config) -> str:
    """Return where env.py lies, of the ini or of the toml; '' where neither says."""
    ask = getattr(config, "get_alembic_option", config.get_main_option)  # the former since Alembic 1.16
    return ask("script_location") or ""


def _copied(given: Config) -> Config:
    """Return a Config of our own like the one that is given: a run changes where it leads, more than once."""
    toml = {"toml_file": given.toml_file_name} if _TAKES_TOML else {}
    made = Config(
        given.config_file_name, ini_section=given.config_ini_section, output_buffer=given.output_buffer,
        stdout=given.stdout, cmd_opts=given.cmd_opts, attributes=dict(given.attributes), **toml,
    )  # fmt: skip
    made.file_config = copy.deepcopy(given.file_config)
    return made


def _require_versions() -> None:
    for name, version, oldest in (
        ("Alembic", alembic.__version__, OLDEST_ALEMBIC), ("SQLAlchemy", sqlalchemy.__version__, OLDEST_SQLALCHEMY),
    ):  # fmt: skip
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < oldest:
            wanted = ".".join(map(str, oldest))
            raise Usage(f"{name} {version} is too old", f"install {name} {wanted} or newer beside the migrator")


def _of_files(settings: Settings) -> Config:
    if not settings.config:
        raise Usage(find_project.NOT_FOUND, "go to its directory, or name its alembic.ini with --config")
    ini, toml = find_project.files(settings.config)
    files: dict[str, Any] = {"file_": ini, "ini_section": settings.section}
    if toml and _TAKES_TOML:
        files["toml_file"] = toml
    elif ini is None:
        raise Usage("this Alembic reads no pyproject.toml", "install Alembic 1.16 or newer, or write an alembic.ini")
    return Config(**files)


def _options(given: Any, settings: Settings) -> argparse.Namespace:
    """Return what env.py may look up of the command line: as Alembic's own command leaves it."""
    own = {"x": list(settings.x) or None, "name": settings.section, "config": settings.config, "raiseerr": False}
    taken = dict(vars(given)) if given is not None else {}
    if settings.x:
        taken["x"] = list(settings.x)
    return argparse.Namespace(**(own | taken))


def _beside_env(config: Config) -> None:
    """Take the directory of the alembic.ini for the scripts' where env.py lies there: Flask-Migrate names none."""
    here = os.path.dirname(config.config_file_name or "")  # noqa: PTH120 - a text for Alembic
    if config.config_file_name and os.path.isfile(os.path.join(here, "env.py")):  # noqa: PTH113, PTH118
        config.set_main_option("script_location", here.replace("%", "%%"))
