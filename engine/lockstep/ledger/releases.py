"""Releases: which releases and instances the ledger knows, who is live, and what each needs.

A release is live while an instance of it reported within the retention time, by the database's clock. One that was
recorded within that time and has not reported yet counts too: its rollout is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lockstep.contract import Contract, ContractError
from lockstep.ledger import tables
from lockstep.postgres import prepared

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from lockstep.postgres.control import Control

UNKNOWN = "unknown"  # the digest of the one release that stands for an app that does not report


# By name and out of JSON: a ledger that no newer run has upgraded has no driver and no schemas.
# Times that an app may report and Python does not know are cut to those it does.
_RELEASES = """
SELECT coalesce(r.digest, i.release), coalesce(r.commit, max(i.commit)),
       concat(r.xmin, r.ctid), CASE WHEN concat(r.xmin, r.ctid) <> ALL ({known}) THEN r.contract::text END,
       r.broken_by, r.digest IS NOT NULL, count(i.id),
       greatest(least(min(i.started), '9999-12-30'), '0001-01-02'), least(max(i.seen), '9999-12-30'),
       coalesce(r.recorded > clock_timestamp() - make_interval(secs => {seconds})
         AND NOT EXISTS (SELECT 1 FROM migrator.instance x
                         WHERE x.release = r.digest AND x.started >= r.recorded), false),
       coalesce(array_agg(DISTINCT coalesce(to_jsonb(i) ->> 'driver', '')) FILTER (WHERE i.id IS NOT NULL), '{{}}'),
       ARRAY(SELECT DISTINCT jsonb_array_elements_text(s) FROM unnest(array_agg(to_jsonb(i) -> 'schemas')) s
              WHERE jsonb_typeof(s) = 'array' ORDER BY 1)
  FROM migrator.release r
  FULL JOIN (SELECT * FROM migrator.instance
             WHERE ended IS NULL AND seen > clock_timestamp() - make_interval(secs => {seconds})) i
    ON i.release = r.digest
 GROUP BY r.digest, i.release ORDER BY max(i.seen) DESC NULLS LAST, r.recorded DESC NULLS LAST"""

_PREPARED = prepared.Statement(
    "lockstep_releases", ("text[]", "float8"), _RELEASES.format(known="$1", seconds="$2")
)  # fmt: skip


class Release(NamedTuple):
    """One release the ledger knows, or that an instance reported; `contract` is None where nobody recorded it.

    `drivers` are those of its instances, "" for one that told none; `schemas` are where its tenants have its tables.
    """

    digest: str
    commit: str | None
    contract: Contract | None
    broken_by: str | None
    recorded: bool
    instances: int
    since: datetime | None
    last_seen: datetime | None
    expected: bool
    drivers: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Tell whether an instance of it serves, or is about to."""
        return self.digest == UNKNOWN or self.instances > 0 or self.expected

    def __str__(self) -> str:
        """Return 'release 3f1c7a90b5d2 (2 instances since …, last seen …)'."""
        if self.digest == UNKNOWN:
            return "an app that does not report (as long as no release has ever reported)"
        name = (
            (self.commit or "")[:12]
            if self.commit not in (None, "unknown")
            else self.digest.removeprefix("sha256:")[:12]
        )
        if self.expected:
            return f"release {name} (recorded lately, its rollout may be under way)"
        seen = (
            f"since {self.since:%Y-%m-%d %H:%M:%S}, last seen {self.last_seen:%H:%M:%S}"
            if self.since and self.last_seen
            else ""
        )
        return f"release {name} ({self.instances} instance{'s' if self.instances != 1 else ''} {seen})"


def read(
    connection: Connection, retention_ms: int, contracts: dict[str, Contract] | None = None
) -> tuple[Release, ...]:
    """Return all releases with who of them is live now; raise ContractError for a contract that cannot be read.

    `contracts` are those of earlier reads, by the version of their row, and takes the new ones up: a large one costs
    milliseconds to send and to parse.
    """
    contracts = {} if contracts is None else contracts
    prepared.prepare(connection, _PREPARED)
    rows = _PREPARED.ask(connection, list(contracts), retention_ms / 1000)
    return tuple(_release(contracts, *row) for row in rows)


def read_by(control: Control, retention_ms: int) -> tuple[Release, ...]:
    """Return the same, read on the control connection."""
    rows = control.rows(_RELEASES.format(known="'{}'", seconds=retention_ms / 1000))
    return tuple(_release({}, *row) for row in rows)


def _release(
    contracts: dict[str, Contract], digest: str, commit: str | None, version: str, contract: str | None, *rest: Any
) -> Release:
    try:
        if contract:
            contracts[version] = Contract.from_json(contract)
    except ContractError as error:
        raise ContractError(f"{error.message}; it is that of {digest}", error.cure) from None
    *rest, drivers, schemas = rest
    return Release(digest, commit, contracts.get(version), *rest, tuple(drivers), tuple(schemas))


def anybody_reported(connection: Connection) -> bool:
    """Tell whether an instance of any release has ever reported; the newest row is kept for this answer."""
    return bool(connection.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM migrator.instance)").scalar())


def roles(connection: Connection) -> tuple[str, ...]:
    """Return the roles that instances sign in with, as they report; an older gate's instance does not tell."""
    rows = prepared.rows(
        connection, "SELECT DISTINCT role FROM migrator.instance WHERE ended IS NULL AND role IS NOT NULL ORDER BY 1"
    )
    return tuple(role for (role,) in rows)


def hold_reports(connection: Connection) -> None:
    """Keep instances from reporting until the transaction ends.

    An instance reports before it asks the gate. So either its report is seen here and its release is live, or it
    waits for this transaction's end and the gate then knows what was broken.
    """
    connection.exec_driver_sql("LOCK TABLE migrator.instance IN SHARE MODE")


def mark_broken(connection: Connection, digests: list[str], revision: str) -> None:
    """Record, in the step's transaction, that the schema does not serve these releases any more."""
    connection.exec_driver_sql(
        "UPDATE migrator.release SET broken_by = %(revision)s, broken_at = clock_timestamp() "
        "WHERE digest = ANY (%(digests)s) AND broken_by IS NULL",
        {"revision": revision, "digests": digests},
    )


def mark_served(connection: Connection, digests: list[str]) -> None:
    """Record that the schema serves these releases again."""
    connection.exec_driver_sql(
        "UPDATE migrator.release SET broken_by = NULL, broken_at = NULL, served_since = clock_timestamp() "
        "WHERE digest = ANY (%(digests)s)",
        {"digests": digests},
    )


def is_recorded(control: Control, digest: str) -> bool:
    """Tell whether the ledger shows that the schema serves a release, with its contract."""
    return bool(
        control.rows(
            "SELECT 1 FROM migrator.release WHERE digest = %s AND broken_by IS NULL AND contract IS NOT NULL", (digest,)
        )
    )


def expect(control: Control, digest: str | None, commit: str) -> bool:
    """Note that the rollout of a release begins, where the schema serves it; tell whether it does."""
    return bool(
        control.rows(
            "UPDATE migrator.release SET recorded = clock_timestamp(), commit = %s "
            "WHERE digest = %s AND broken_by IS NULL AND contract IS NOT NULL RETURNING 1",
            (commit, digest),
        )
    )


def broken_by(control: Control, digest: str) -> str | None:
    """Return the revision that took away what a release needs, if one did."""
    rows = control.rows("SELECT broken_by FROM migrator.release WHERE digest = %s", (digest,))
    return rows[0][0] if rows else None


def record(connection: Connection, digest: str, commit: str, contract: Contract) -> None:
    """Record that the schema as it is now serves a release."""
    connection.exec_driver_sql(
        "INSERT INTO migrator.release (digest, commit, contract) "
        "VALUES (%(digest)s, %(commit)s, CAST(%(contract)s AS jsonb)) "
        "ON CONFLICT (digest) DO UPDATE SET commit = excluded.commit, contract = excluded.contract, recorded = now(), "
        "served_since = CASE WHEN release.broken_by IS NULL THEN release.served_since ELSE now() END, "
        "broken_by = NULL, broken_at = NULL",
        {"digest": digest, "commit": commit, "contract": contract.to_json()},
    )


def tidy(control: Control) -> None:
    """Take away reports of instances long gone; the newest stays, so that it is known that somebody ever reported."""
    control.rows(
        "DELETE FROM migrator.instance WHERE coalesce(ended, seen) < now() - interval '30 days' "
        "AND id <> (SELECT id FROM migrator.instance ORDER BY seen DESC, id LIMIT 1)"
    )


def live_instances(control: Control, retention_ms: int) -> int:
    """Return how many app instances reported within the retention time, by the database's clock."""
    if tables.version(control) == 0:
        return 0
    return int(
        control.row(
            "SELECT count(*) FROM migrator.instance WHERE ended IS NULL "
            "AND seen > clock_timestamp() - make_interval(secs => %s)",
            (retention_ms / 1000,),
        )[0]
    )
