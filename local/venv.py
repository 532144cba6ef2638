"""Set-up: the locked requirements in, a ready `.venv` out. Run by whatever `python3` is there.

Standard library only, and written so that an old Python can still parse it and be told that it is old.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
# What this repository makes itself: installed from where it lies, so that an edit needs no set-up.
PACKAGES = [ROOT / name for name in ("gate", "engine")]
OLDEST = (3, 11)


def fail(message):
    """End with one clear line."""
    sys.exit("error: " + message)


def has(module):
    """Whether this Python can run `module`: Debian ships venv's ensurepip and pip apart from Python."""
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, check=False)
    return done.returncode == 0


def run(arguments, what):
    """Run one command of the set-up; on failure show what it said."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        fail(what)


def present():
    """Return the packages of this repository that are there."""
    return [package for package in PACKAGES if (package / "pyproject.toml").is_file()]


def install():
    """Make `.venv` and put the pinned requirements in it, each checked against its hash."""
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip"]
    if has("ensurepip"):
        run([sys.executable, "-m", "venv", str(VENV)], "cannot make .venv; what Python said is above")
    elif has("pip"):
        run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], "cannot make .venv; what Python said is above")
        pip = [sys.executable, "-m", "pip", "--python", python]
    else:
        fail("this Python can make no virtual environment; on Debian: apt install python3-venv")
    # --only-binary: a missing wheel is said at once, instead of by a compiler that is not there.
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
    run(
        [*pip, "install", *options, "-r", str(REQUIREMENTS)],
        "cannot install requirements/dev.txt; what pip said is above (behind a mirror: set PIP_INDEX_URL)",
    )
    for package in present():
        # Nothing is fetched: what it needs is installed above, and so is what builds it.
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
        run(
            [*pip, "install", *options, "-e", str(package)], "cannot install %s/; what pip said is above" % package.name
        )


def main():
    """Set up once, however many `make` start at the same time."""
    if sys.version_info < OLDEST:
        found = (sys.executable, *sys.version_info[:2])
        fail("Python 3.11 or newer is needed, %s is %d.%d; try: make PYTHON=python3.11" % found)
    began = time.monotonic()
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = VENV / "ready"
        reasons = [REQUIREMENTS, Path(__file__), *(package / "pyproject.toml" for package in present())]
        newest = max(reason.stat().st_mtime for reason in reasons)
        if ready.exists() and ready.stat().st_mtime >= newest:
            return
        with contextlib.suppress(FileNotFoundError):
            ready.unlink()
        print("set-up    .venv with the pinned requirements (once; a minute on a slow line)", flush=True)
        install()
        ready.touch()
    print("set-up    done in %.0f s" % (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    os.environ.pop("PYTHONHOME", None)
    main()
