"""Manifest: the revision files in, what a run with nothing to do has to know of them out; or nothing, if in doubt.

Written beside the versions when an image is built and when a revision is written, so that neither Alembic nor any
revision file has to be loaded to see that all of them are applied. It is believed only while names, sizes and times
are those of the files, or their bytes are. Imports next to nothing: see `lockstep.upgrade.quick`.
"""

import os
import sys

TYPE_CHECKING = False  # importing `typing` for it would cost as much as reading two thousand files' times
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lockstep.project.environment import Project

FORMAT = 4
ST_SIZE, ST_MTIME = 6, 8  # places in os.stat_result, whole numbers; the `stat` module has the same names
HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs milliseconds
PATH = os.path.join(HERE, "versions.manifest")  # noqa: PTH118
VERSIONS = "versions"
BESIDE = ("alembic.ini", "env.py", "ledger.py", "models.py")


class Manifest:
    """What is known of the revisions without loading them; no dataclass, which would be the dearest import here."""

    __slots__ = ("contract", "heads", "ledger", "models", "revisions", "seals")

    def __init__(
        self, heads: tuple[str, ...], seals: str, models: str, ledger: int, contract: str, revisions: str
    ) -> None:
        """Take heads, digests of all seals and of the models, the ledger's version, JSON of contract and revisions."""
        self.heads, self.seals, self.models, self.ledger = heads, seals, models, ledger
        self.contract, self.revisions = contract, revisions


def read(path: str = PATH) -> Manifest | None:
    """Return the manifest if it is of the files as they are now; None where there is none, or any doubt is left."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            head, listing, digests, contract, revisions = file.read().split("\n\n")
        header = dict(line.split(" ", 1) for line in head.split("\n"))
        top, written = os.path.dirname(path), int(header["written"])  # noqa: PTH120
        if header["format"] != str(FORMAT) or not _is_of_these(top, written, listing, digests):
            return None
        heads = tuple(header["heads"].split("\t"))
        return Manifest(heads, header["seals"], header["models"], int(header["ledger"]), contract, revisions)
    except (OSError, ValueError, KeyError):
        return None


def head_of(written: int, heads: "Iterable[str]", seals: str, models: str, ledger: int) -> str:
    """Return the first part of a manifest: lines, because to load `json` costs more than all else here."""
    known = {"format": FORMAT, "written": written, "heads": "\t".join(heads), "seals": seals, "models": models,
             "ledger": ledger}  # fmt: skip
    return "\n".join(f"{word} {value}" for word, value in known.items())


def has_checkpoint() -> bool:
    """Tell whether there is a checkpoint beside the versions; it is asked itself what revisions it is of."""
    return os.path.exists(os.path.join(HERE, "checkpoint.sql"))  # noqa: PTH110, PTH118


def _is_of_these(top: str, written: int, listing: str, digests: str) -> bool:
    """Compare names, sizes and times; where only a time differs, or could not have differed, the bytes as well."""
    now, newest = _listed(top)
    # A file changed in the very second the manifest was written would show no other time.
    if newest < written and "\n".join(now) == listing:
        return True
    was, known = listing.split("\n"), digests.split("\n")
    if len(was) != len(now) or len(known) != len(now):
        return False
    return all(_is_the_same(top, written, *lines) for lines in zip(was, now, known, strict=True))


def _is_the_same(top: str, written: int, was: str, now: str, digest: str) -> bool:
    name, size, changed = now.split("\t")
    name_was, size_was, changed_was = was.split("\t")
    if (size, name) != (size_was, name_was):
        return False
    return (changed == changed_was and int(changed) < written) or _digest(os.path.join(top, name)) == digest  # noqa: PTH118


def _listed(top: str) -> tuple[list[str], int]:
    """Return 'name, size, time' of each file a run depends on, and the newest time.

    In whole seconds: an image's layers keep no more. Thousands of files: every call in the loop counts.
    """
    lines, newest = [], 0
    for name in BESIDE:
        found = os.stat(os.path.join(top, name))  # noqa: PTH116, PTH118
        lines.append(f"{name}\t{found[ST_SIZE]}\t{found[ST_MTIME]}")
        newest = max(newest, found[ST_MTIME])
    with os.scandir(os.path.join(top, VERSIONS)) as entries:  # noqa: PTH118
        for entry in entries:
            name = entry.name
            if name != "__pycache__":  # whatever else there is may be a revision
                found = entry.stat()
                changed = found[ST_MTIME]
                lines.append(f"{VERSIONS}/{name}\t{found[ST_SIZE]}\t{changed}")
                newest = max(newest, changed)
    lines.sort()
    return lines, newest


def _digest(path: str) -> str:
    import hashlib  # noqa: PLC0415 - only where there is doubt

    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.sha256(file.read()).hexdigest()


def digest_of(seals: dict[str, str]) -> str:
    """Return one digest over the seals of revisions, whatever their order."""
    import hashlib  # noqa: PLC0415

    text = "\n".join(f"{revision} {seal}" for revision, seal in sorted(seals.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def write(project: "Project", path: str = PATH) -> bool:
    """Write the manifest of a project that is laid out like this one; False for any other."""
    import time  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from lockstep import ledger  # noqa: PLC0415
    from lockstep.project import lazy_revisions, release, seal  # noqa: PLC0415

    top = os.path.dirname(path)  # noqa: PTH120
    written = int(time.time())
    models = release.of_project(project)
    if models is None or not _is_laid_out_so(project, top):
        return False
    listing, _ = _listed(top)
    digests = [_digest(os.path.join(top, line.split("\t")[0])) for line in listing]  # noqa: PTH118
    script = type(project.script).from_config(project.config)  # loaded after they were listed, not before
    of_files = {Path(item.path): seal.of_file(Path(item.path)) for item in script.walk_revisions()}
    seals = {item.revision: of_files[Path(item.path)] for item in script.walk_revisions()}
    if path == PATH:
        seal.keep(of_files)
    head = head_of(written, sorted(script.get_heads()), digest_of(seals), models, len(ledger.UPGRADES))
    partial = f"{path}.{os.getpid()}.partial"  # two may write at once
    parts = (head, "\n".join(listing), "\n".join(digests), _contract(project), lazy_revisions.written(script))
    with open(partial, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("\n\n".join(parts))
    os.replace(partial, path)  # noqa: PTH105
    return True


def _contract(project: "Project") -> str:
    """Return what the models need of the schema, as JSON; nothing where they cannot be loaded, which a run will say."""
    from lockstep import contract  # noqa: PLC0415
    from lockstep.errors import MigratorError  # noqa: PLC0415

    try:
        return contract.derive(contract.load_models(str(project.models))).to_json()
    except MigratorError:
        return ""


def refresh(project: "Project", path: str = PATH) -> None:
    """Write it again where there is one that is not of these files any more; a plain checkout gets none by itself."""
    if os.path.exists(path) and read(path) is None:  # noqa: PTH110
        try:
            write(project, path)
        except OSError:  # an image is read-only; without a manifest a run is slower, and as right
            return


def _is_laid_out_so(project: "Project", top: str) -> bool:
    """Tell whether the project's revisions, configuration and models are exactly the files that are listed."""
    script, config = project.script, project.config
    return (
        [os.path.realpath(place) for place in script._version_locations] == [os.path.realpath(f"{top}/{VERSIONS}")]  # noqa: SLF001
        and not script.recursive_version_locations
        and not script.sourceless
        and os.path.realpath(config.config_file_name) == os.path.realpath(f"{top}/alembic.ini")
        and os.path.realpath(str(project.models)) == os.path.realpath(f"{top}/models.py")
        and all("\n" not in name and "\t" not in name for name in os.listdir(f"{top}/{VERSIONS}"))  # noqa: PTH208
        and all("\n" not in head and "\t" not in head for head in script.get_heads())
    )


def main() -> int:
    """Write the manifest of the project's own revisions: what the image's build does."""
    from lockstep import settings  # noqa: PLC0415
    from lockstep.project import environment  # noqa: PLC0415

    made = write(environment.load(settings.load({})))
    print(f"{'wrote' if made else 'no manifest: other version locations than'} {PATH if made else VERSIONS}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
