"""Manifest writer: write the manifest of a project, beside its configuration or in the user's cache.

An image's build runs `python -m lockstep.project.manifest_writer`. A run that had no manifest it could believe leaves
one in the cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep import settings
from lockstep.errors import MigratorError
from lockstep.ledger import tables
from lockstep.project import environment, lazy_revisions, manifest, release_contract, seal
from lockstep.project.manifest import Manifest, Sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockstep.project.environment import Project

# An env.py that says none of these words decides by nothing but its own text.
_KNOWN = f"(?:alembic|sqlalchemy|logging|{manifest.__name__.partition('.')[0]})"
_DECIDES = re.compile(rf"environ|getenv|get_x_argument|^\s*(?:from|import)\s+(?!{_KNOWN}\b)", re.MULTILINE)


_HANDS_OVER = re.compile(r"^\w+\.enter\(context\)$", re.MULTILINE)  # its one statement, and the engine's own module


def leave(project: Project, version_table: str | None = None) -> None:
    """Leave the manifest of a project for the next run, where there is none to be believed; that may not be possible.

    `version_table` is Alembic's, as SQL names it, where a run has met it.
    """
    config, decides = str(project.config.config_file_name), _decides(project)
    if manifest.of(project.settings):
        return
    path = manifest.baked(config) if os.path.exists(manifest.baked(config)) else manifest.cached(config)  # noqa: PTH110
    # An image is read-only, its user may have no home, a file may be gone by now: the run is done, and without a
    # manifest the next one is slower, and as right.
    with contextlib.suppress(Exception):
        if path:
            _made_sure_of(Path(path).parent)
            write(project, path, version_table or _usual(project), by_the_environment=decides)


def _usual(project: Project) -> str | None:
    """Return what a manifest says of a version table that nobody has met: one of the usual two, or unknown."""
    return None if _decides(project) else ""


def _made_sure_of(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
        raise PermissionError(directory)


def write(project: Project, path: str, version_table: str | None, *, by_the_environment: bool = False) -> bool:
    """Write the manifest of a project; False for one whose files cannot be told by their names."""
    config = str(project.config.config_file_name)
    written = int(time.time())
    sources = _sources(project, config, by_the_environment=by_the_environment)
    if sources is None:
        return False
    before = manifest.listed(config, sources)
    known, sealed = _known(project, config, version_table)
    text = manifest.text(config, sources, known, written=written, sealed_files=sealed)
    if manifest.listed(config, sources) != before:  # changed while they were read
        return False
    partial = f"{path}.{os.getpid()}.partial"  # two may write at once
    Path(partial).write_text(text, encoding="utf-8")
    Path(partial).replace(path)
    return True


def _known(project: Project, config: str, version_table: str | None) -> tuple[Manifest, dict[str, str]]:
    """Return what the files lead to, read anew: after they were listed, not before."""
    script = type(project.script).from_config(project.config)
    scripts = list(script._load_revisions())  # noqa: SLF001 - in the order in which Alembic reads them
    lazy_revisions.put_in(script, described := lazy_revisions.described(scripts, Path(config).parent),
                          Path(config).parent, lazy_revisions.of_file)  # fmt: skip
    seals = {item.revision: seal.of_file(Path(item.path)) for item in scripts}
    sealed = {seal.digest_of(Path(item.path).read_bytes()): seals[item.revision] for item in scripts}
    known = Manifest(
        heads=tuple(sorted(script.get_heads())),
        seals=manifest.digest_of(seals), models=release_contract.digest(project) or "",
        ledger=len(tables.UPGRADES), contract=_contract(project), revisions=described, version_table=version_table,
        directory=os.path.relpath(script.dir, Path(config).parent), hands_over=_hands_over(project),
    )  # fmt: skip
    return known, sealed


def _contract(project: Project) -> str:
    """Return what the models need of the schema, as JSON; nothing where they cannot be loaded, which a run will say."""
    try:
        return release_contract.needed(project).to_json() if release_contract.digest(project) else ""
    except MigratorError:
        return ""


def _sources(project: Project, config: str, *, by_the_environment: bool) -> Sources | None:
    """Return all files that what is known of a project comes from; None where names do not tell them for sure."""
    script, options = project.script, project.config
    beside = Path(config).parent
    given = [options.get_alembic_option("script_location") or "", *(script.version_locations or ())]
    given = [str(one) for one in given]
    # `package:directory` may be another one the next time, and without sources there is nothing to seal.
    if script.sourceless or any(":" in one for one in given) or release_contract.is_imported(project):
        return None
    files = [Path(config), beside / "pyproject.toml", Path(script.dir) / "env.py"]
    files += [Path(project.models)] if project.models else []
    files += [Path(project.settings.contract)] if project.settings.contract else []
    files += [Path(file) for file in _imported()] if by_the_environment else []
    places = list(script._version_locations)  # noqa: SLF001 - Alembic keeps it private
    if not all(map(os.path.isdir, places)) or any(set("\t\n") & set(str(one)) for one in (*files, *places)):
        return None
    given += [str(project.models)] if project.models else []
    names = dict.fromkeys(os.path.relpath(os.path.realpath(file), beside) for file in files)
    return Sources(
        files=list(names),
        places=[(os.path.relpath(place, beside), bool(script.recursive_version_locations)) for place in places],
        working_directory=None if all(map(os.path.isabs, given)) else os.getcwd(),  # noqa: PTH109
        environment=manifest.environment() if by_the_environment else None,
        asked=manifest.asked(project.settings),
    )


def _decides(project: Project) -> bool:
    """Tell whether env.py is one that may decide by a variable, or by a module of the project, what it works on."""
    return not _hands_over(project) and bool(_DECIDES.search(_env(project)))


def _hands_over(project: Project) -> bool:
    """Tell whether env.py does nothing but hand over to the engine."""
    return bool(_HANDS_OVER.search(_env(project))) and not _DECIDES.search(_env(project))


def _env(project: Project) -> str:
    return (Path(project.script.dir) / "env.py").read_text(encoding="utf-8")


def _imported() -> Iterator[str]:
    """Return the files of the modules that are loaded, but for what is installed and the engine itself."""
    ours = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
    installed = tuple(os.path.realpath(path) + os.sep for path in {sys.prefix, *sysconfig.get_paths().values()})
    for module in tuple(sys.modules.values()):
        file = os.path.realpath(getattr(module, "__file__", None) or "")
        if file.endswith(".py") and os.path.isfile(file) and not file.startswith((*installed, ours + os.sep)):  # noqa: PTH113
            yield file


def main() -> int:
    """Write the manifest beside the configuration: what an image's build does."""
    project = environment.load(settings.load({}))
    config = str(project.config.config_file_name)
    made = write(project, manifest.baked(config), _usual(project))
    print(f"{'wrote' if made else 'no manifest: what its files are cannot be told for sure;'} {manifest.baked(config)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
