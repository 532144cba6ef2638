"""Quick: the command line in; if it is an upgrade with nothing to do, that answer out, else the whole command line.

Most deploys have nothing to migrate. For them this module imports psycopg2 and little else, and asks one question,
which at the same time writes the run into the ledger. Whatever is not exactly as the last run left it, down to a
variable not known here, goes the whole way, which asks everything again: this path can only be faster, not laxer.
"""

import os
import re
import signal
import socket
import sys

from migrator import __version__, manifest, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg2

    from migrator.manifest import Manifest

CONNECT_TIMEOUT_S = 2  # a database that does not answer is waited for on the whole way
_PLAIN_DURATION = r"([1-9][0-9]{0,3})(ms|s|min|h|d)?"  # what is odd is for settings.py to judge
_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
# Compiled where they are asked for: one that is not costs a millisecond for nothing.
_PRIVATE = r"(?:10|127|192\.168|172\.(?:1[6-9]|2\d|3[01]))\."
_NAME = r"[A-Za-z0-9._-]{1,64}"

_ANY_TEXT = {
    "MIGRATOR_DATABASE_URL", "MIGRATOR_APP_ROLE", "MIGRATOR_APP_PASSWORD", "MIGRATOR_COMMIT", "MIGRATOR_RUN_ID",
    "MIGRATOR_EXPECT_COMMIT", "MIGRATOR_SERVICE_NAME", "MIGRATOR_NO_UNKNOWN_RELEASE", "MIGRATOR_STRICT",
    "MIGRATOR_IGNORE_LIVE_RELEASES", "MIGRATOR_REQUIRE_TLS", "MIGRATOR_APP_SCHEMA", "MIGRATOR_CHECKPOINT",
}  # fmt: skip
_DURATIONS = {
    "MIGRATOR_WAIT", "MIGRATOR_DEADLINE", "MIGRATOR_LOCK_WAIT", "MIGRATOR_LOCK_TIMEOUT", "MIGRATOR_STATEMENT_TIMEOUT",
    "MIGRATOR_IDLE_TIMEOUT", "MIGRATOR_TERMINATE_BLOCKERS_AFTER", "RELEASE_RETENTION",
}  # fmt: skip

# All of it in one statement and one snapshot. A replica or a read-only database refuses the INSERT by itself.
# The release is noted as one whose rollout begins, as releases.expect does.
_ASK = f"""
SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s';
WITH asked AS (
SELECT heads
  FROM migrator.state
 WHERE pg_backend_pid() = %(pid)s AND heads = %(heads)s AND seals = %(seals)s
   AND step = (SELECT coalesce(max(id), 0) FROM migrator.step)
   AND heads = (SELECT array_agg(version_num::text ORDER BY version_num) FROM {{table}})
   AND (SELECT max(version) FROM migrator.ledger) >= %(ledger)s
   AND EXISTS (SELECT FROM migrator.release
               WHERE digest = %(models)s AND broken_by IS NULL AND contract IS NOT NULL)
   AND NOT EXISTS (SELECT FROM migrator.run WHERE finished IS NULL)
   AND NOT EXISTS (SELECT FROM migrator.deferred)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated'))
   AND NOT EXISTS (SELECT FROM migrator.instance i
                   WHERE coalesce(ended, seen) < now() - interval '30 days'
                     AND EXISTS (SELECT FROM migrator.instance j WHERE j.seen > i.seen))
   AND 1 = (SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'alembic_version')
   AND %(app_schema)s IN ('', split_part(current_setting('search_path'), ',', 1))
   AND rights = {state.RIGHTS.format(path="current_setting('search_path')")}
), expected AS (
UPDATE migrator.release SET recorded = clock_timestamp(), commit = %(commit)s
 WHERE digest = %(models)s AND broken_by IS NULL AND EXISTS (SELECT FROM asked)
)
INSERT INTO migrator.run (verb, road, commit, version, host, run_id, finished, outcome, from_heads, to_heads)
SELECT 'upgrade', 'migrator', %(commit)s, %(version)s, %(host)s, %(run_id)s, clock_timestamp(), 'done', heads, heads
  FROM asked
RETURNING id"""  # noqa: S608 - our own text
_TABLES = ("migrator.alembic_version", "public.alembic_version")


_IN_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+/-"


class _Stopped(Exception):
    """A signal arrived."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line, the quick way where that is enough; return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    known = manifest.read() if argv[:1] == ["upgrade"] else None
    code = _upgrade(known, argv[1:], os.environ) if known else None
    if code is None:
        from migrator import cli  # noqa: PLC0415 - the whole way

        return cli.main(argv)
    return code


def _upgrade(known: "Manifest", flags: list[str], env: "Mapping[str, str]") -> int | None:
    """Return the exit code of an upgrade that has nothing to do; None if it is not known to be one."""
    asked = _asked(flags, env)
    if asked is None or len(known.heads) != 1 or not _is_plain(env):
        return None
    commit = env.get("IMAGE_COMMIT") or env.get("RENDER_GIT_COMMIT") or "unknown"
    if asked["expect_commit"] not in ("", commit):
        return None
    row = {
        "commit": env.get("MIGRATOR_COMMIT") or commit, "version": __version__, "host": os.uname().nodename,
        "run_id": asked["run_id"] or None, "heads": list(known.heads), "seals": known.seals, "models": known.models,
        "ledger": known.ledger, "role": env.get("MIGRATOR_APP_ROLE") or "app",
        "app_schema": env.get("MIGRATOR_APP_SCHEMA") or "",
    }  # fmt: skip
    url = (env.get("MIGRATOR_DATABASE_URL") or "").strip() or (env.get("DATABASE_URL") or "").strip()
    try:
        there = _with_signals(url, row)
    except (_Stopped, KeyboardInterrupt) as stopped:
        return _say_stopped(stopped.args[0] if stopped.args else signal.SIGINT)
    if not there:
        return _load(known, asked["run_id"], env) if row.get("no_ledger") else None
    return _say(f"done: nothing to do, the database is at {known.heads[0]} (safe to run again)")


def _load(known: "Manifest", run_id: str, env: "Mapping[str, str]") -> int | None:
    """Load an empty database from the checkpoint, where there is one; None where that is not all there is to do."""
    given = env.get("MIGRATOR_CHECKPOINT") or ""
    elsewhere = env.get("MIGRATOR_APP_SCHEMA")  # a checkpoint is of the schema that everybody has
    if elsewhere or given == "none" or not (given or manifest.has_checkpoint()):
        return None
    from migrator import fresh  # noqa: PLC0415 - what it loads is for a database that is made once

    return fresh.upgrade(known, run_id, given)


def _asked(flags: list[str], env: "Mapping[str, str]") -> dict[str, str] | None:
    """Return the two flags that whoever starts a job gives it; None if there is any other."""
    asked = {"run_id": env.get("MIGRATOR_RUN_ID") or "", "expect_commit": env.get("MIGRATOR_EXPECT_COMMIT") or ""}
    words = [part for flag in flags for part in (flag.split("=", 1) if flag.startswith("--") else (flag,))]
    if len(words) % 2:
        return None
    for flag, value in zip(words[::2], words[1::2], strict=True):
        if flag not in ("--run-id", "--expect-commit") or value.startswith("-"):
            return None
        asked[flag[2:].replace("-", "_")] = value
    return asked if not asked["run_id"] or re.fullmatch(_NAME, asked["run_id"]) else None


def _is_plain(env: "Mapping[str, str]") -> bool:
    """Tell whether every setting is one that cannot change what a run with nothing to do says or does."""
    given = {"MIGRATOR_LOCK_TIMEOUT": 50, "MIGRATOR_STATEMENT_TIMEOUT": 300_000}
    for name, value in env.items():
        if name in _DURATIONS and value:
            match = re.fullmatch(_PLAIN_DURATION, value)
            if not match:
                return False
            given[name] = int(match[1]) * _MS[match[2] or "s"]
        elif name.startswith("MIGRATOR_") and value and name not in _ANY_TEXT:
            return False
    return given["MIGRATOR_LOCK_TIMEOUT"] < given["MIGRATOR_STATEMENT_TIMEOUT"]


def _with_signals(url: str, row: dict[str, object]) -> bool:
    """Ask while a signal ends the run as it does later: as the first process of a container it would be ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        before = [signal.signal(number, _stop) for number in numbers]
    except ValueError:  # not the main thread
        return _is_done(url, row)
    try:
        return _is_done(url, row)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _stop(number: int, _frame: object) -> None:
    raise _Stopped(number)


def _is_done(url: str, row: dict[str, object]) -> bool:
    """Ask the database; whatever goes wrong is for the whole way to find and to explain."""
    must_be_private = bool(os.environ.get("MIGRATOR_REQUIRE_TLS"))
    if not _is_url(url) or ("sslmode" in url and must_be_private):
        return False
    import psycopg2  # noqa: PLC0415 - a usage error needs no driver
    import psycopg2.errors  # noqa: PLC0415

    name = "".join(one if one in _IN_NAMES else "_" for one in f"migrator/{row['commit']}"[:63])
    # Without gssencmode=disable libpq spends a round trip on asking for an encryption nobody here has.
    extra = {} if "gssencmode" in url else {"gssencmode": "disable"}
    if must_be_private and "PGSSLMODE" not in os.environ:
        extra["sslmode"] = "require"
    try:
        connection = psycopg2.connect(
            "postgresql" + url[url.index("://") :], connect_timeout=CONNECT_TIMEOUT_S, application_name=name, **extra
        )
        connection.autocommit = True
        if not _is_private(connection, must_be=must_be_private):
            return False
        row["pid"] = connection.info.backend_pid  # through a pooler, libpq knows only the pooler's own number
        cursor = connection.cursor()
        for table in _TABLES:
            try:
                cursor.execute(_ASK.format(table=table), row)
                return cursor.fetchone() is not None
            except psycopg2.errors.UndefinedTable:
                continue
        row["no_ledger"] = True
    except psycopg2.Error:
        return False
    return False


def _is_url(url: str) -> bool:
    """Tell whether a URL is one that nobody has to look at twice; the whole way has words for the others."""
    scheme, _, rest = url.partition("://")
    who, at, where = rest.rpartition("@")
    return (
        scheme.partition("+")[0] in ("postgres", "postgresql")
        and not scheme.endswith("+")
        and bool(where)
        and not (at and ("@" in who or "/" in who))
        and not any(one.isspace() or one == "\0" for one in url)
    )


def _is_private(connection: "psycopg2.extensions.connection", *, must_be: bool) -> bool:
    """Tell whether nothing needs to be said about who might listen in: the whole way has words for the rest."""
    host = connection.info.host or ""
    if connection.info.ssl_in_use or host.startswith(("/", "@")) or host in ("", "localhost", "127.0.0.1", "::1"):
        return True
    if must_be or "." in host or ":" in host:
        return False
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:  # a name of a private network, as compose has them
        return re.match(_PRIVATE, str(copy.getpeername()[0])) is not None


def _say(text: str) -> int:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        from migrator.report import silence_closed_streams  # noqa: PLC0415

        silence_closed_streams()
    return 0


def _say_stopped(number: int) -> int:
    from migrator.errors import Interrupted  # noqa: PLC0415
    from migrator.report import Report  # noqa: PLC0415

    return Report().error(Interrupted(number, f"stopped by signal {number}; nothing was changed"))
