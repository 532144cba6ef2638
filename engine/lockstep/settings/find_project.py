"""Find the Alembic project that a run is on: by `--config`, its variable, or where the run is started.

It is never found by where the engine's own files lie. Only text and `os` are used: an upgrade with nothing to do asks
this first.
"""

import os

INI, TOML = "alembic.ini", "pyproject.toml"
BESIDE = os.path.join("migrator", INI)  # noqa: PTH118 - pathlib costs milliseconds, here and below
NOT_FOUND = "no Alembic project here: no alembic.ini, nor a pyproject.toml with [tool.alembic], from here upwards"


def configuration(given: str, directory: str | None = None) -> str:
    """Return the path of the configuration: the one that is given, else the nearest; '' where there is none."""
    if given:
        return os.path.realpath(given)
    start = os.path.realpath(directory or os.curdir)
    return _upwards(start) or _beside(start)


def _upwards(start: str) -> str:
    """Return the nearest configuration from a directory upwards, the ini before the toml of one directory."""
    place = start
    while True:
        ini, toml = os.path.join(place, INI), os.path.join(place, TOML)  # noqa: PTH118
        if os.path.isfile(ini):  # noqa: PTH113
            return ini
        if is_of_alembic(toml):
            return toml
        above = os.path.dirname(place)  # noqa: PTH120
        if above == place:
            return ""
        place = above


def _beside(start: str) -> str:
    found = os.path.join(start, BESIDE)  # noqa: PTH118
    return os.path.realpath(found) if os.path.isfile(found) else ""  # noqa: PTH113


def is_of_alembic(toml: str) -> bool:
    """Tell whether a pyproject.toml has a table for Alembic; one that cannot be read has none."""
    try:
        with open(toml, encoding="utf-8") as file:  # noqa: PTH123
            return any(line.strip().startswith(("[tool.alembic]", "[tool.alembic.")) for line in file)
    except (OSError, UnicodeDecodeError):
        return False


def files(config: str) -> tuple[str | None, str | None]:
    """Return the ini and the toml of a configuration, where each is there: Alembic's pyproject template has both."""
    place, name = os.path.split(config)
    toml = os.path.join(place, TOML)  # noqa: PTH118
    if name.endswith(".toml"):
        ini = os.path.join(place, INI)  # noqa: PTH118
        return (ini if os.path.isfile(ini) else None), config  # noqa: PTH113
    return config, (toml if os.path.isfile(toml) else None)  # noqa: PTH113
