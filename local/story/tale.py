"""Tale: a database and an empty directory in; two deploys, step by step, out. Raises at a wrong turn."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.story import release as releases
from local.story.load import Load
from local.story.switch import Instance, NotInTime, Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.story.place import Place
    from local.story.release import Done, Release

DROP = "drop_users_"  # what follows in the revision's name are the two columns, in either order
COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped"


class WrongTurn(Exception):
    """Something did not go as the story goes."""


def expect(holds: object, what: str) -> None:
    """Raise WrongTurn where something does not hold."""
    if not holds:
        raise WrongTurn(what)


@dataclass
class Tale:
    """The state of the story between its steps."""

    place: Place
    directory: Path
    tell: Callable[[str, str], None]
    switch: Switch = field(default_factory=Switch)
    serving: list[Instance] = field(default_factory=list)
    started: int = 0

    def columns(self) -> set[str]:
        """Return the columns that users has now."""
        return {row[0] for row in self.place.rows(COLUMNS)}

    def migrate(self, release: Release, *arguments: str) -> Done:
        """Run this release's `migrator upgrade`, which has to succeed, and show what it says."""
        done = release.migrator(self.place, "upgrade", *arguments)
        self.tell("migrator", f"upgrade {' '.join(arguments)}".rstrip() + f" of release {release.commit[:7]}")
        for line in done.out.splitlines():
            self.tell("", line)
        expect(done.code == 0, f"migrator upgrade: exit {done.code}\n{done.out}{done.err}")
        return done

    def instance(self, release: Release, **variables: str) -> Instance:
        """Start an instance, which takes no traffic yet."""
        self.started += 1
        instance = Instance(release, self.place, self.directory / f"instance-{self.started}.log", **variables)
        self.serving.append(instance)
        return instance

    def roll_out(self, release: Release, instances: int = 1) -> list[Instance]:
        """Ask the gate, start instances, and let each take traffic once it is ready, as a platform does."""
        gate = release.gate(self.place)
        expect(gate.code == 0, f"the gate: exit {gate.code}\n{gate.out}{gate.err}")
        for instance in (starting := [self.instance(release) for _ in range(instances)]):
            instance.until_ready()
            self.switch.add(instance)
            self.tell("app", f"an instance of release {release.commit[:7]} is ready and takes traffic")
        return starting

    def retire(self, instance: Instance) -> None:
        """Take an instance out of the traffic, then end it."""
        self.switch.take_out(instance)
        code = instance.end(signal.SIGTERM)
        self.serving.remove(instance)
        self.tell("app", f"an instance of release {instance.release.commit[:7]} is taken out, gets SIGTERM and ends")
        expect(code == 0, f"exit code {code} after SIGTERM\n{instance.log.read_text()}")

    def close(self) -> None:
        """End every instance."""
        for instance in self.serving:
            with contextlib.suppress(Exception):
                instance.end(signal.SIGKILL)


@contextlib.contextmanager
def begun(tale: Tale, first: Release) -> Iterator[Load]:
    """Migrate for release 1 and serve it on two instances, under load until the end of the block."""
    try:
        tale.migrate(first)
        tale.roll_out(first, 2)
        with Load(tale.switch) as load:
            load.go_on()
            tale.tell("load", "writes and reads users and organisations, on every endpoint, from here to the end")
            yield load
    finally:
        tale.close()


def written(tale: Tale, first: Release) -> Release:
    """Write release 2."""
    second = releases.second(tale.place, first, tale.directory / "release-2")
    tale.tell("develop", "release 2: users.phone_number goes, users.locale is required, users.name becomes full_name")
    for path in sorted(set((second.directory / "migrator/versions").glob("*.py"))):
        if not (first.directory / "migrator/versions" / path.name).exists():
            tale.tell("", f"wrote {path.name}")
    return second


def failed_rollout(tale: Tale, first: Release, second: Release, load: Load) -> None:
    """Migrate for a build of release 2 whose app does not start: release 1 goes on, and can be deployed again."""
    bad = releases.broken(second, tale.directory / "release-2-bad")
    _deferring(tale, bad, first)
    crashed = tale.instance(bad)
    with contextlib.suppress(NotInTime):
        crashed.until_ready()
        raise WrongTurn("a build that does not start became ready")
    crashed.end()
    tale.serving.remove(crashed)
    tale.tell("app", f"the instance of release {bad.commit[:7]} does not start: the rollout fails, release 1 goes on")
    load.go_on()
    _still_deferred(tale, bad)
    tale.tell("operator", "deploys release 1 once more: its migrator finds the database ahead of it, and serving it")
    tale.migrate(first)
    tale.retire(tale.serving[0])
    tale.roll_out(first)
    load.go_on()


def rollout(tale: Tale, first: Release, second: Release, load: Load) -> str:
    """Migrate for release 2, let both serve, retire release 1; return the revision that then breaks release 1."""
    _deferring(tale, second, first)
    old = list(tale.serving)
    tale.roll_out(second)
    load.go_on(120)
    tale.tell("load", "both releases served, side by side")
    for instance in old[1:]:
        tale.retire(instance)
    _still_deferred(tale, second)
    tale.retire(old[0])
    tale.tell("nightly", "no instance of release 1 is left")
    done = tale.migrate(second, "--deferred-only")
    expect(DROP in done.out and "deferred" not in done.out, f"the drop was not applied\n{done.out}")
    expect(not tale.columns() & {"name", "phone_number"}, "the columns are there still")
    load.go_on(120)
    return _refused(tale, first)


def nothing_is_lost(tale: Tale, load: Load) -> None:
    """Compare what the clients wrote with what is there; the load has ended."""
    column = "full_name" if "full_name" in tale.columns() else "name"
    found = dict(tale.place.rows(f"SELECT id, {column} FROM users"))  # noqa: S608 - one of two names
    # A client that was stopped between a request and its answer's entry knows less than the database.
    lost = {user: name for user, name in load.kept.items() if found.get(user) != name}
    expect(not lost, f"rows are lost or changed: {lost}")
    tale.tell("check", f"{len(load.kept)} users are there with the names their clients gave them last")


def _deferring(tale: Tale, release: Release, first: Release) -> None:
    done = tale.migrate(release)
    expect(f"deferred   {DROP}" in done.out, f"the drop was not deferred\n{done.out}")
    expect(f"release {first.commit[:12]} (" in done.out, f"nobody is named whom it waits for\n{done.out}")
    expect({"name", "full_name", "phone_number", "locale"} <= tale.columns(), "columns are missing")


def _still_deferred(tale: Tale, release: Release) -> None:
    """Run the nightly job while an instance of release 1 lives: nothing happens."""
    done = tale.migrate(release, "--deferred-only")
    expect(f"deferred   {DROP}" in done.out, f"the drop was not deferred\n{done.out}")
    expect({"name", "phone_number"} <= tale.columns(), "the columns of release 1 are gone")


def _refused(tale: Tale, first: Release) -> str:
    """Start release 1 again after the drop: the gate does not let it in, and names the revision."""
    revision = str(tale.place.rows("SELECT revision FROM migrator.step ORDER BY id DESC LIMIT 1")[0][0])
    gate = first.gate(tale.place)
    expect(gate.code == 1 and revision in gate.out, f"the gate let release 1 in\n{gate.out}{gate.err}")
    tale.tell("gate", gate.last)
    return revision
