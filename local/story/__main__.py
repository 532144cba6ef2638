"""`make story`: nothing in; two deploys told step by step on an embedded PostgreSQL, and the count of requests, out."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from local.story import place as places
from local.story import release as releases
from local.story.switch import NotInTime
from local.story.tale import Tale, WrongTurn, begun, failed_rollout, nothing_is_lost, rollout, written
from lockstep import errors
from lockstep.develop.sandbox import embedded

SHOWN_FAILURES = 5


def main() -> int:
    """Tell the story; 0 if it went as it should and no request failed."""
    start = time.monotonic()

    def tell(who: str, what: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {who:<9} {what}" if who else f"{'':20}{what}", flush=True)

    try:
        with embedded.throwaway() as server, tempfile.TemporaryDirectory(prefix="story-") as directory:
            tell("database", f"PostgreSQL {server.version}, embedded, thrown away at the end")
            with places.made(server.url()) as place:
                return _told(Tale(place, Path(directory), tell))
    except (WrongTurn, NotInTime) as error:
        print(f"the story took a wrong turn: {error}", file=sys.stderr)
        return 1
    except errors.MigratorError as error:
        print(f"error: {error.message}\n       {error.cure}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 130


def _told(tale: Tale) -> int:
    first = releases.first(tale.directory / "release-1")
    with begun(tale, first) as load:
        second = written(tale, first)
        failed_rollout(tale, first, second, load)
        rollout(tale, first, second, load)
    nothing_is_lost(tale, load)
    for failure in load.failures[:SHOWN_FAILURES]:
        tale.tell("failed", failure)
    print(f"requests {load.requests}, failed {len(load.failures)}", flush=True)
    return 1 if load.failures else 0


if __name__ == "__main__":
    sys.exit(main())
