"""Watch: what the tables of live releases stand on, kept from step to step, and what a step has changed in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from lockstep.contract.footprint import paths, reading
from lockstep.contract.footprint.judge import judge
from lockstep.contract.footprint.look import Look
from lockstep.contract.footprint.reach import Reach, reach
from lockstep.contract.footprint.rules import limits
from lockstep.contract.footprint.rules.triggers import always_filled
from lockstep.contract.footprint.scene import Meant, Scene
from lockstep.postgres import prepared
from lockstep.postgres.statements import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from lockstep.contract import Contract, Need
    from lockstep.contract.footprint.judge import Found
    from lockstep.contract.footprint.things import Snapshot


class Watch:
    """The footprint of one run: nothing is read until it was looked at, and nothing while nobody can be broken."""

    def __init__(self, outside: Callable[[str], list[Any]] | None = None) -> None:
        """Begin with nothing known; `outside` asks a session that sees what is committed."""
        self._outside = outside
        self._transaction: str | None = None
        self._scene: Scene | None = None
        self._before: Snapshot | None = None
        self._after: Snapshot | None = None
        self._roles: dict[int, str] = {}
        self._path: tuple[str, ...] = ()
        self._meant = Meant()
        self._reaches: dict[int, tuple[Snapshot, frozenset[int], Reach]] = {}

    @property
    def is_on(self) -> bool:
        """Tell whether there is a state to compare with."""
        return self._before is not None

    def look(self, connection: Connection, role_names: Iterable[str]) -> None:
        """Read everything as it stands before the run, as the roles see it that sign in."""
        self._after = self._transaction = None
        self._roles = reading.roles(connection, role_names)
        [(path,)] = prepared.rows(connection, "SELECT current_schemas(false)")
        self._path = tuple(path)
        with self._printed(connection):
            self._before = reading.everything(connection, tuple(self._roles))
        reading.prepare(connection)

    def found(
        self,
        connection: Connection,
        contracts: Iterable[Contract],
        *,
        drivers: frozenset[str] = frozenset(),
        whole: bool = False,
    ) -> tuple[Found, ...]:
        """Return what was changed since the last transaction that was committed; `whole`: also outside of this one.

        `drivers` are those of the live releases, "" for one that told none.
        """
        if self._before is None:
            return ()
        seen = reading.touched(connection, self._transaction)
        if seen.goes_on and self._after is not None:
            self._before = self._after  # what was found last was committed, and is not tried again
        self._transaction = seen.transaction
        if whole:
            seen = seen._replace(told=False)
        with self._printed(connection):
            self._after = reading.again(connection, self._before, tuple(self._roles), seen)
        self._scene = self._seen(connection, contracts, seen)
        self._scene.drivers = drivers
        if not self._scene.has_changed:
            return ()
        return judge(self._scene)

    @contextlib.contextmanager
    def searched(self, connection: Connection) -> Iterator[None]:
        """Look names up as the roles do, and then as the migrator did; a temporary table stands for none of theirs."""
        snapshot = self._after or self._before
        if snapshot is None:
            yield
            return
        path = [one for role, name in self._roles.items() for one in paths.schemas(snapshot, role, name)]
        with _searching(connection, (*path, *self._path)):
            yield

    def _printed(self, connection: Connection) -> contextlib.AbstractContextManager[None]:
        """Have names printed as at the start of the run: a schema or a temporary table that came hides none."""
        return _searching(connection, self._path)

    def disproves(self, need: Need) -> bool:
        """Tell whether a need that the contract finds broken is met all the same.

        A trigger fills a column, or a CHECK holds for every value that there can be.
        """
        if self._scene is not None and need.rule == "new-limit":
            return limits.held(self._scene, need.schema, need.table, need.offers)
        if self._scene is None or need.rule not in {"required-column", "default-gone"} or need.column is None:
            return False
        relation = self._scene.named(self._scene.after, need.schema, need.table)
        return relation is not None and need.column in always_filled(self._scene.after, relation.oid)

    def _seen(self, connection: Connection, contracts: Iterable[Contract], seen: reading.Touched) -> Scene:
        assert self._before is not None and self._after is not None  # noqa: S101, PT018 - found() has read both
        bare = Scene(
            self._before,
            self._after,
            self._roles,
            contracts,
            path=self._path,
            rows=seen.rows,
            altered=seen.altered,
            look=Look(None, {}),
            known=self._reach,
            meant=self._meant,
        )
        searched = {name: (*bare.path_of(self._after, role), *self._path) for role, name in self._roles.items()}
        own = {name: tuple(dict.fromkeys(path)) for name, path in searched.items()}
        bare.look = Look(connection, own, self._outside)
        return bare

    def _reach(self, snapshot: Snapshot, mapped: frozenset[int]) -> Reach:
        known = self._reaches.get(id(snapshot))
        if known is None or known[0] is not snapshot or known[1] != mapped:
            kept = {
                id(one): entry for entry in self._reaches.values() if (one := entry[0]) in (self._before, self._after)
            }
            known = kept[id(snapshot)] = (snapshot, mapped, reach(snapshot, mapped))
            self._reaches = kept
        return known[2]


@contextlib.contextmanager
def _searching(connection: Connection, path: Iterable[str]) -> Iterator[None]:
    names = ", ".join(quoted(one) for one in dict.fromkeys(path))
    both = "SELECT current_setting('search_path'), set_config('search_path', %(path)s, true)"  # one after the other
    [(old, _)] = prepared.rows(connection, both, {"path": f"{names}, pg_temp" if names else "pg_temp"})
    try:
        yield
    finally:
        if not connection.invalidated and connection.in_transaction():
            with contextlib.suppress(Exception):  # after an error the rollback has put it back
                prepared.rows(connection, "SELECT set_config('search_path', %(path)s, true)", {"path": old})
