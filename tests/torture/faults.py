"""Faults: what happens to a run at one point, where in the exchange, and how it may end then."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.torture.proxy import AFTER, BEFORE, DURING, Gone
from tests.torture.server import rows

if TYPE_CHECKING:
    from collections.abc import Callable

STALL_S = 0.4
CONCURRENT = re.compile(r"(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX INDEX) CONCURRENTLY", re.IGNORECASE)
TABLES = "SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
LOST = {0, 5}  # 0: nothing was left to do but to say goodbye


@dataclass(frozen=True)
class Fault:
    """One thing that happens.

    `at_once`: the next run does not wait until the server has noticed; `everywhere`: tried at reading statements too;
    `others`: it needs other connections than the one of the statement; `this`: it needs the backend of that one.
    """

    name: str
    when: str
    act: Callable
    codes: frozenset[int]
    outcomes: frozenset[str]
    at_once: bool = False
    everywhere: bool = False
    others: bool = False
    this: bool = False


def _kill(run, proxy, _pair):
    os.kill(run.child.pid, signal.SIGKILL)
    run.child.wait(10)
    proxy.cut()
    raise Gone


def _terminate(run, pids):
    run.server.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", pids)
    end = time.monotonic() + 10
    while (
        run.server.rows("SELECT 1 FROM pg_stat_activity WHERE pid = ANY (%s::int[])", pids) and time.monotonic() < end
    ):
        time.sleep(0.002)


def _terminate_all(run, proxy, _pair):
    _terminate(run, [pair.pid for pair in proxy.pairs if pair.pid])


def _terminate_this(run, _proxy, pair):
    _terminate(run, [pair.pid])


def _terminate_others(run, proxy, pair):
    _terminate(run, [other.pid for other in proxy.pairs if other.pid and other is not pair])


def _restart(run, proxy, pair):
    # Up to PostgreSQL 15, a server that stops waits a minute for who has connected and has not said who he is.
    run.server.restart_at_once(lambda: pair.pid or pair.close())
    proxy.cut()
    raise Gone


def _cut(_run, proxy, _pair):
    proxy.cut()
    raise Gone


def _stall(_run, _proxy, _pair):
    time.sleep(STALL_S)


def _close_towards_migrator(_run, _proxy, pair):
    with contextlib.suppress(OSError):
        pair.client.shutdown(socket.SHUT_WR)


def _close_towards_server(_run, _proxy, pair):
    with contextlib.suppress(OSError):
        pair.server.shutdown(socket.SHUT_WR)


def _sigterm(run, _proxy, _pair):
    os.kill(run.child.pid, signal.SIGTERM)


def _make(name, act, codes, outcomes, *whens, everywhere=False, **named):
    return [
        Fault(name, when, act, frozenset(codes), frozenset(outcomes), everywhere=everywhere and when == BEFORE, **named)
        for when in whens
    ]


_CUT_OFF = {"interrupted", "done"}
_LOST = {"interrupted", "unreachable", "done"}

FAULTS = (
    *_make("kill", _kill, {-9}, _CUT_OFF, BEFORE, DURING, AFTER),
    *_make("kill, run again at once", _kill, {-9}, _CUT_OFF, BEFORE, DURING, at_once=True),
    *_make("terminate all backends", _terminate_all, LOST, _LOST, BEFORE, DURING, AFTER, others=True),
    *_make("terminate this backend", _terminate_this, LOST, _LOST, BEFORE, DURING, AFTER, everywhere=True, this=True),
    *_make("terminate the other backends", _terminate_others, LOST, _LOST, BEFORE, AFTER, others=True),
    *_make("restart the server", _restart, LOST, _LOST, BEFORE, DURING, AFTER),
    *_make("cut the network", _cut, LOST, _LOST, BEFORE, DURING, AFTER, everywhere=True),
    *_make("stall the network", _stall, {0}, {"done"}, BEFORE, AFTER),
    *_make("half-close towards the migrator", _close_towards_migrator, LOST, _LOST, BEFORE, DURING),
    *_make("half-close towards the server", _close_towards_server, LOST, _LOST, BEFORE, DURING),
    *_make("SIGTERM", _sigterm, {0, 143}, _CUT_OFF, BEFORE, DURING, AFTER, everywhere=True),
)


class Held:
    """An old snapshot that keeps a concurrent statement in its middle, until it is let go."""

    def __init__(self, server, database):
        self._server, self._connection = server, server.connect(database)
        rows(self._connection, "BEGIN ISOLATION LEVEL REPEATABLE READ")
        for (table,) in rows(
            self._connection, "SELECT oid::regclass FROM pg_class WHERE oid >= 16384 AND relkind = 'r'"
        ):
            rows(self._connection, f"SELECT 1 FROM {table} LIMIT 1")

    def until_waiting(self, pid):
        end = time.monotonic() + 10
        sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while not self._server.rows(sql, pid) and time.monotonic() < end:
            time.sleep(0.002)

    def close(self):
        with contextlib.suppress(Exception):
            self._connection.close()
