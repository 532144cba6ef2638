"""Settings: what this process was told by its environment, checked.

Read once, by whoever starts the process; nothing else in the app looks at the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lockstep_gate.release import commit_of
from lockstep_gate.settings import MAX_PORT, Reader, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import URL

DRIVER = "postgresql+psycopg2"


@dataclass(frozen=True)
class Settings:
    """What this process was told, checked."""

    database_url: URL = field(repr=False)
    commit: str
    host: str
    port: int
    pool_size: int
    statement_timeout_s: float
    report_interval_s: float
    request_limit_bytes: int
    shutdown_timeout_s: float
    trusted_proxies: str


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`, or raise SettingsError naming every variable that is wrong."""
    reader = Reader(environ)
    url = reader.database_url("DATABASE_URL", DRIVER)
    settings = {
        "commit": commit_of(environ),
        "host": environ.get("HOST") or "0.0.0.0",  # noqa: S104 - a container's port is reached from outside it
        "port": reader.number("PORT", default=8000, least=0, most=MAX_PORT),
        "pool_size": reader.number("DATABASE_POOL_SIZE", default=5, least=1, most=100),
        "statement_timeout_s": reader.duration("STATEMENT_TIMEOUT", default="5s", least_s=0.1, most_s=300),
        # The migrator counts a release as live for minutes after its last report; reports must come well within.
        "report_interval_s": reader.duration("REPORT_INTERVAL", default="60s", least_s=0.1, most_s=300),
        "request_limit_bytes": reader.number("REQUEST_LIMIT_BYTES", default=65_536, least=256, most=10_485_760),
        # Below the 30 s that platforms wait between SIGTERM and SIGKILL.
        "shutdown_timeout_s": reader.duration("SHUTDOWN_TIMEOUT", default="20s", least_s=1, most_s=300),
        "trusted_proxies": environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1",
    }
    if reader.faults or url is None:
        raise SettingsError("\n".join(reader.faults))
    return Settings(database_url=url, **settings)
