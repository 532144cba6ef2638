"""Quick: the command line in; if it is an upgrade with nothing to do, that answer out, else the whole command line.

Most deploys have nothing to migrate. For them this module imports the core of psycopg2 and next to nothing else (no
`re`, `json`, `signal` or `socket`: each costs milliseconds), and asks one question, which at the same time writes the
run into the ledger. Whatever is not exactly as the last run left it, down to a
variable not known here, goes the whole way, which asks everything again: this path can only be faster, not laxer.
"""

import os
import sys

from lockstep import __version__
from lockstep.ledger import fingerprint
from lockstep.postgres import driver
from lockstep.project import manifest
from lockstep.stop import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from lockstep.project.manifest import Manifest

CONNECT_TIMEOUT_S = "2"  # a database that does not answer is waited for on the whole way
_LOOK_MS, _LOOKS = 100, 80  # longer than the server lets it take: that one is silent
_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_PRIVATE = ("10.", "127.", "192.168.", *(f"172.{number}." for number in range(16, 32)))

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
   AND NOT EXISTS ({fingerprint.COPIES})
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated'))
   AND NOT EXISTS (SELECT FROM migrator.instance i
                   WHERE coalesce(ended, seen) < now() - interval '30 days'
                     AND EXISTS (SELECT FROM migrator.instance j WHERE j.seen > i.seen))
   AND 1 = (SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'alembic_version')
   AND %(app_schema)s IN ('', split_part(current_setting('search_path'), ',', 1))
   AND rights = {fingerprint.RIGHTS.format(path="current_setting('search_path')")}
), expected AS (
UPDATE migrator.release SET recorded = clock_timestamp(), commit = %(commit)s
 WHERE digest = %(models)s AND broken_by IS NULL AND EXISTS (SELECT FROM asked)
)
INSERT INTO migrator.run (verb, road, commit, version, host, run_id, finished, outcome, from_heads, to_heads)
SELECT 'upgrade', 'migrator', %(commit)s, %(version)s, %(host)s, %(run_id)s, clock_timestamp(), 'done', heads, heads
  FROM asked
RETURNING id"""  # noqa: S608 - our own text
_TABLES = ("migrator.alembic_version", "public.alembic_version")
LONGEST_RUN_ID = 64
_UNDEFINED_TABLE = "42P01"

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_IN_RUN_IDS = f"{_LETTERS}{_LETTERS.upper()}0123456789_.-"
_IN_NAMES = f"{_IN_RUN_IDS}+/"


class _Found:
    """What a look at the database found: nothing to do, or no ledger yet, or (`_UNKNOWN`) neither for certain."""

    def __init__(self, *, is_done: bool = False, without_ledger: "Connection | None" = None) -> None:
        """Take whether there is nothing to do; `without_ledger` is the connection to such a database, left open."""
        self.is_done = is_done
        self.without_ledger = without_ledger


_UNKNOWN = _Found()


def main(argv: list[str] | None = None) -> int:
    """Run the command line, the quick way where that is enough; return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    code = answer(argv)
    return whole(argv) if code is None else code


def answer(argv: list[str]) -> int | None:
    """Return the exit code of an upgrade that has nothing to do, or only a checkpoint to load; None for all else."""
    known = manifest.read() if argv[:1] == ["upgrade"] else None
    return _upgrade(known, argv[1:], os.environ) if known else None


def whole(argv: list[str]) -> int:
    """Run the command line the whole way; return its exit code."""
    driver.complete()
    from lockstep import cli  # noqa: PLC0415

    return cli.main(argv)


def _upgrade(known: "Manifest", flags: list[str], env: "Mapping[str, str]") -> int | None:
    """Return the exit code of such an upgrade; None if it is not known to be one."""
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
    found = _look(url, row)
    if found.is_done:
        return _say(f"done: nothing to do, the database is at {known.heads[0]} (safe to run again)")
    if found.without_ledger is None:
        return None
    return _load(known, asked["run_id"], env, found.without_ledger)


def _load(known: "Manifest", run_id: str, env: "Mapping[str, str]", connection: "Connection") -> int | None:
    """Load an empty database from the checkpoint, where there is one; None where that is not all there is to do."""
    given = env.get("MIGRATOR_CHECKPOINT") or ""
    elsewhere = env.get("MIGRATOR_APP_SCHEMA")  # a checkpoint is of the schema that everybody has
    try:
        if elsewhere or given == "none" or not (given or manifest.has_checkpoint()):
            return None
        driver.complete()
        from lockstep.upgrade import fresh  # noqa: PLC0415 - what it loads is for a database that is made once

        return fresh.upgrade(known, run_id, given, connection)
    finally:
        connection.close()


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
    run_id = asked["run_id"]
    return asked if len(run_id) <= LONGEST_RUN_ID and all(one in _IN_RUN_IDS for one in run_id) else None


def _is_plain(env: "Mapping[str, str]") -> bool:
    """Tell whether every setting is one that cannot change what a run with nothing to do says or does."""
    given = {"MIGRATOR_LOCK_TIMEOUT": 50, "MIGRATOR_STATEMENT_TIMEOUT": 300_000}
    for name, value in env.items():
        if name in _DURATIONS and value:
            given[name] = _milliseconds(value)
            if not given[name]:
                return False
        elif name.startswith("MIGRATOR_") and value and name not in _ANY_TEXT:
            return False
    return given["MIGRATOR_LOCK_TIMEOUT"] < given["MIGRATOR_STATEMENT_TIMEOUT"]


def _milliseconds(text: str) -> int:
    """Return a plain duration, as 20ms or 5min; 0 for what is odd, which is for settings.py to judge."""
    number = text.rstrip(_LETTERS)
    unit = text[len(number) :] or "s"
    plain = number.isascii() and number.isdigit() and number[0] != "0" and len(number) <= 4  # noqa: PLR2004 - digits
    return int(number) * _MS[unit] if plain and unit in _MS else 0


def _look(url: str, row: dict[str, object]) -> _Found:
    """Ask the database; whatever goes wrong is for the whole way to find and to explain."""
    must_be_private = bool(os.environ.get("MIGRATOR_REQUIRE_TLS"))
    if not _is_url(url) or ("sslmode" in url and must_be_private):
        return _UNKNOWN
    name = "".join(one if one in _IN_NAMES else "_" for one in f"migrator/{row['commit']}"[:63])
    try:
        psycopg = driver.core()
    except ImportError:  # for the whole way to find words for
        return _UNKNOWN
    try:
        where = psycopg.parse_dsn("postgresql" + url[url.index("://") :])
        # Without gssencmode=disable libpq spends a round trip on asking for an encryption nobody here has.
        where = {"gssencmode": "disable"} | where | {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": name}
        where |= driver.NETWORK
        if must_be_private and "PGSSLMODE" not in os.environ:
            where["sslmode"] = "require"
        connection, found = driver.connect(psycopg, where), _UNKNOWN
        psycopg.set_wait_callback(_wait)
        try:
            found = _ask(connection, psycopg.Error, row, must_be_private=must_be_private)
        finally:
            psycopg.set_wait_callback(None)
            if found.without_ledger is None:
                connection.close()
    except (psycopg.Error, UnicodeError, TimeoutError):
        return _UNKNOWN
    return found


def _wait(connection: "Connection") -> None:
    """Wait for an answer, as libpq does by itself, but not for good, and not past a signal that ends the run.

    A wait callback of psycopg2's; raises TimeoutError.
    """
    from select import POLLIN, POLLOUT, poll  # noqa: PLC0415 - no database, no wait

    poller = poll()
    for _ in range(_LOOKS):
        fingerprint = connection.poll()
        if not fingerprint:
            return
        poller.register(connection.fileno(), (POLLIN, POLLOUT)[fingerprint - 1])
        poller.poll(_LOOK_MS)
        if signals.asked():
            break
    raise TimeoutError


def _ask(connection: "Connection", error: type[Exception], row: dict[str, object], *, must_be_private: bool) -> _Found:
    connection.autocommit = True
    if not _is_private(connection, must_be=must_be_private):
        return _UNKNOWN
    row = row | {"pid": connection.info.backend_pid}  # through a pooler, libpq knows only the pooler's own number
    cursor = connection.cursor()
    for table in _TABLES:
        try:
            cursor.execute(_ASK.format(table=table), row)
            return _Found(is_done=cursor.fetchone() is not None)
        except error as raised:
            if getattr(raised, "pgcode", None) != _UNDEFINED_TABLE:
                raise
    return _Found(without_ledger=connection)


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


def _is_private(connection: "Connection", *, must_be: bool) -> bool:
    """Tell whether nothing needs to be said about who might listen in: the whole way has words for the rest."""
    host = connection.info.host or ""
    if connection.info.ssl_in_use or host.startswith(("/", "@")) or host in ("", "localhost", "127.0.0.1", "::1"):
        return True
    if must_be or "." in host or ":" in host:
        return False
    from _socket import socket  # noqa: PLC0415 - what `socket` is made of, without the `enum` around it

    copy = socket(fileno=os.dup(connection.fileno()))
    try:
        return str(copy.getpeername()[0]).startswith(_PRIVATE)  # a name of a private network, as compose has them
    finally:
        copy.close()


def _say(text: str) -> int:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        from lockstep.report import silence_closed_streams  # noqa: PLC0415

        silence_closed_streams()
    return 0
