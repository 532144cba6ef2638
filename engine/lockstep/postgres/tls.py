"""TLS: what libpq has to insist on by the settings, and how well a connection turned out to be protected."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import psycopg2.extensions

from lockstep.errors import Refused, Usage

if TYPE_CHECKING:
    from lockstep.postgres.address import Address
    from lockstep.settings import Settings

CHECKED = "verify-full"
_UNENCRYPTED = ("disable", "allow", "prefer")


def insist(where: Address, settings: Settings) -> None:
    """Have connections of this process made as the settings say, by libpq's variables; raise Usage or Refused.

    By variables, because an env.py that is not ours makes its own connections; what stands in a URL wins over them.
    """
    if settings.tls_ca:
        if not os.access(settings.tls_ca, os.R_OK):
            raise Usage(
                f"the file of certificates {settings.tls_ca} cannot be read",
                "give the path of a PEM file in MIGRATOR_TLS_CA; on Render a secret file is under /etc/secrets",
            )
        os.environ["PGSSLROOTCERT"] = settings.tls_ca
        os.environ["PGSSLMODE"] = CHECKED
    elif settings.require_tls and not _is_local_name(where.host):
        os.environ.setdefault("PGSSLMODE", "require")
    mode = psycopg2.extensions.parse_dsn(where.dsn).get("sslmode", "")
    if settings.require_tls and mode in _UNENCRYPTED and not _is_local_name(where.host):
        raise Refused(
            f"sslmode={mode} in the URL of {where.shown} allows a connection that is not encrypted",
            "take it out of the URL, or write sslmode=verify-full (MIGRATOR_REQUIRE_TLS is on)",
        )


def verdict(raw: psycopg2.extensions.connection) -> tuple[str, bool]:
    """Return what protects a connection in a few words, and whether an operator should hear of it unasked."""
    mode = raw.info.dsn_parameters.get("sslmode", "prefer")
    if raw.info.ssl_in_use:
        if mode.startswith("verify-"):
            return f"encrypted ({raw.info.ssl_attribute('protocol')}), the server's certificate checked ({mode})", False
        return f"encrypted, the server's certificate not checked ({mode}); set MIGRATOR_TLS_CA", False
    peer = _peer(raw)
    if peer is None or peer.is_loopback:
        return "not encrypted, on this machine", False
    # A name with no dot is one of a private network: a compose file's service, or Render's.
    own_network = peer.is_private and "." not in (raw.info.host or "") and ":" not in (raw.info.host or "")
    return "not encrypted", not own_network


def _is_local_name(host: str) -> bool:
    return host.startswith(("/", "@")) or host in ("", "local socket", "localhost", "127.0.0.1", "::1")


def _peer(raw: psycopg2.extensions.connection) -> object:  # of ipaddress, which costs a millisecond
    """Return the address at the other end; None for this machine's own."""
    copy = socket.socket(fileno=os.dup(raw.fileno()))
    try:
        name = copy.getpeername()
    finally:
        copy.close()
    if not isinstance(name, tuple) or _is_local_name(name[0]):
        return None
    import ipaddress  # noqa: PLC0415

    return ipaddress.ip_address(name[0].partition("%")[0])
