"""Cases: a release's description and a sequence of changes in, the verdict beside what really happened out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

import sqlalchemy as sa
from hypothesis import strategies as st

from lockstep import contract
from lockstep.contract import catalog
from tests.contract import changes, statements
from tests.contract.releases import DEFAULTS, KEYS, KINDS, ColumnSpec, TableSpec, release

Change = tuple[str, int, int, int]
# A new limit or trigger may refuse writes, and says so in a warning: the data decides.
MAY_REFUSE = {"identity-always", "new-limit", "new-trigger", "view-trigger", "row-policy", "right-missing"}


@dataclass(frozen=True)
class Case:
    tables: tuple[TableSpec, ...]
    changes: tuple[Change, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        body = json.loads(text)
        tables = (
            TableSpec(table["key"], tuple(ColumnSpec(**column) for column in table["columns"]), table["unique"])
            for table in body["tables"]
        )
        return cls(tuple(tables), tuple(tuple(change) for change in body["changes"]))


@dataclass(frozen=True)
class Outcome:
    """The verdict (`needs`) and reality (`failures`), with the changes that could be made at all."""

    needs: tuple[contract.Need, ...]
    failures: tuple[statements.Failure, ...]
    made: tuple[str, ...]

    @property
    def broken(self) -> bool:
        return any(need.severity == contract.ERROR for need in self.needs)

    @property
    def missed(self) -> tuple[statements.Failure, ...]:
        """What failed although the verdict was satisfied, and no warning named the table."""
        if self.broken:
            return ()
        warned = {need.table for need in self.needs if need.rule in MAY_REFUSE}
        return tuple(failure for failure in self.failures if failure.table not in warned)

    @property
    def false_alarm(self) -> bool:
        return self.broken and not self.failures


@dataclass
class Tally:
    cases: int = 0
    broken: int = 0
    warned: int = 0
    false_alarms: list[tuple[Case, Outcome]] = field(default_factory=list)

    def add(self, case: Case, outcome: Outcome) -> None:
        self.cases += 1
        self.broken += outcome.broken
        self.warned += bool(outcome.needs) and not outcome.broken
        if outcome.false_alarm:
            self.false_alarms.append((case, outcome))

    def __str__(self) -> str:
        share = 100 * len(self.false_alarms) / max(self.broken, 1)
        return (
            f"{self.cases} cases: {self.broken} broken, {self.warned} warned, "
            f"{self.cases - self.broken - self.warned} satisfied; "
            f"broken where all works: {len(self.false_alarms)} ({share:.1f} %)"
        )


def column_specs() -> st.SearchStrategy[ColumnSpec]:
    return st.builds(ColumnSpec, st.sampled_from(sorted(KINDS)), st.booleans(), st.sampled_from(DEFAULTS))


def cases(first: str) -> st.SearchStrategy[Case]:
    """Any release and up to four changes, the first of this name: one alone shows whether its own verdict is right."""
    columns = st.lists(column_specs(), min_size=1, max_size=4).map(tuple)
    tables = st.builds(TableSpec, st.sampled_from(KEYS), columns, st.booleans())
    where = (st.integers(0, 1), st.integers(0, 3), st.integers(0, 41))
    start, more = st.tuples(st.just(first), *where), st.tuples(st.sampled_from(changes.NAMES), *where)
    rest = st.one_of(st.just([]), st.lists(more, max_size=3))
    sequence = st.tuples(start, rest).map(lambda pair: (pair[0], *pair[1]))
    return st.builds(Case, st.lists(tables, min_size=1, max_size=2).map(tuple), sequence)


def prepare(connection: sa.Connection) -> None:
    """Roles and types that every case finds: once for a database."""
    execute(
        connection,
        "DO $$ BEGIN CREATE ROLE app_role; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        "DO $$ BEGIN CREATE ROLE nobody_role; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        *changes.BEFORE,
        "CREATE TABLE other (id integer PRIMARY KEY)",
        "GRANT USAGE ON SCHEMA public TO app_role",
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO app_role",
    )


def outcome(connection: sa.Connection, case: Case) -> Outcome:
    """Make the release's tables, change them, ask for the verdict, and let the release run; then roll back."""
    transaction = connection.begin()
    try:
        models = release(case.tables)
        models.metadata.create_all(connection, checkfirst=False)
        execute(connection, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_role")
        needs = contract.Contract.from_json(contract.derive(models.metadata).to_json())
        known = catalog.know(connection, needs.relations, app_role="app_role")
        everything = catalog.know(connection, app_role="app_role")
        before = known.catalog
        assert before == catalog.read(connection, needs.relations, app_role="app_role")
        assert contract.broken(needs, before) == ()
        made = tuple(" ".join(map(str, change)) for change in case.changes if _make(connection, case, change))
        after = catalog.read(connection, needs.relations, app_role="app_role")
        assert catalog.refresh(connection, known).catalog == after
        assert catalog.refresh(connection, everything).catalog == catalog.read(connection, app_role="app_role")
        found = contract.broken(needs, after, since=before)
        refreshed, untouched = catalog.refresh(connection, known).catalog, contract.Untouched()
        for _ in range(2):
            assert contract.broken(needs, refreshed, since=before, untouched=untouched) == found
        execute(connection, "SET LOCAL ROLE app_role")
        return Outcome(found, tuple(statements.run(connection, models)), made)
    finally:
        transaction.rollback()


def _make(connection: sa.Connection, case: Case, change: Change) -> bool:
    name, table, column, variant = change
    table %= len(case.tables)
    column %= len(case.tables[table].columns)
    savepoint = connection.begin_nested()
    try:
        execute(connection, *changes.sql(name, table, column, variant, case.tables[table].columns[column].kind))
    except sa.exc.DBAPIError:
        savepoint.rollback()
        return False
    savepoint.commit()
    return True


def execute(connection: sa.Connection, *texts: str) -> None:
    for text in texts:
        connection.exec_driver_sql(text, execution_options={"no_parameters": True})
