"""Settings of the pre-deploy: the environment, read into one frozen and checked object."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lockstep_gate import settings as gate_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

API_URL = "https://api.render.com/v1"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
LONGEST_S = 1740  # Render ends a pre-deploy at 30 minutes, without a word of ours


@dataclass(frozen=True)
class Settings:
    """What the pre-deploy was told, checked."""

    api_key: str = field(repr=False)
    api_url: str
    migrator_id: str
    migrator_name: str
    service_id: str
    commit: str
    platform_commit: str
    is_preview: bool
    deadline_s: float
    poll_s: float
    grace_s: float
    patience_s: float
    database_wait_s: float


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`; raise SettingsError naming every variable that is wrong."""
    reader = gate_settings.Reader(environ)
    given = Settings(
        api_key=environ.get("RENDER_API_KEY", "").strip(),
        api_url=(environ.get("RENDER_API_URL", "").strip() or API_URL).rstrip("/"),
        migrator_id=environ.get("MIGRATOR_SERVICE_ID", "").strip(),
        migrator_name=environ.get("MIGRATOR_SERVICE_NAME", "").strip() or "migrator",
        service_id=environ.get("RENDER_SERVICE_ID", "").strip(),
        commit=environ.get("IMAGE_COMMIT") or environ.get("RENDER_GIT_COMMIT") or "",
        platform_commit=environ.get("RENDER_GIT_COMMIT", ""),
        is_preview=environ.get("IS_PULL_REQUEST", "").strip().lower() == "true",
        deadline_s=reader.duration("PREDEPLOY_DEADLINE", default="25m", least_s=1, most_s=LONGEST_S),
        # 12 looks and 12 questions for the log in a minute: Render allows 400 and 30.
        poll_s=reader.duration("PREDEPLOY_POLL", default="5s", least_s=0.05, most_s=60),
        grace_s=reader.duration("PREDEPLOY_GRACE", default="3m", least_s=0.1, most_s=LONGEST_S),
        patience_s=reader.duration("PREDEPLOY_PATIENCE", default="2m", least_s=0.1, most_s=LONGEST_S),
        database_wait_s=reader.duration("PREDEPLOY_DATABASE_WAIT", default="60s", least_s=0, most_s=LONGEST_S),
    )
    faults = [*reader.faults, *_faults(given)]
    if faults:
        raise gate_settings.SettingsError("\n".join(faults))
    return given


def _faults(given: Settings) -> list[str]:
    found = []
    # Whatever else were in it would end in a header, and in that header's error message.
    if given.api_key and not re.fullmatch(r"[A-Za-z0-9_.~+/=-]{8,200}", given.api_key):
        found.append("RENDER_API_KEY is not an API key: it has characters or a length that none has; copy it again")
    parts = urlsplit(given.api_url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        found.append("RENDER_API_URL is not an https:// URL: the API key would cross the network in the clear")
    if given.migrator_id and not re.fullmatch(r"(srv|crn)-[A-Za-z0-9]{1,60}", given.migrator_id):
        found.append("MIGRATOR_SERVICE_ID is not the id of a service: it begins with crn- or srv-")
    if given.commit and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given.commit):
        found.append("IMAGE_COMMIT (RENDER_GIT_COMMIT) is not a commit")
    return found
