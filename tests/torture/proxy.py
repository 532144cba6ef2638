"""Proxy: a TCP way to a PostgreSQL server that reads the protocol's message boundaries, and acts at the N-th statement.

Points are counted, never timed: statement N is the N-th Query that the migrator sends on any of its connections, or
the N-th connection that it opens. What its watching thread asks depends on the clock, and is not counted.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from dataclasses import dataclass

# What only a slow statement makes the migrator ask.
_UNCOUNTED = re.compile(rb"pg_blocking_pids\(w\.pid\)|SELECT phase, lockers_done|pg_cancel_backend")
_SECRET = re.compile(r"SCRAM-SHA-256\$\S+?(?=')")
BEFORE, DURING, AFTER = "before", "during", "after"
CONNECT = "connect"
SIZE = 1 << 16


@dataclass
class Sent:
    """One counted statement: its number, the connection's number, and a short text."""

    number: int
    connection: int
    text: str


@dataclass
class Gone(Exception):
    """The connection is to be given up."""


@dataclass
class Pair:
    """One connection of the migrator's and the one to the server behind it."""

    number: int
    client: socket.socket
    server: socket.socket
    pid: int = 0
    database: str = ""
    sent: Sent | None = None

    def close(self):
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens until closed; `at(number, when, act)` sets what happens at one point."""

    def __init__(self, port):
        """Listen on a free port of the loopback, in front of `port`."""
        self.target = port
        self.sent: list[Sent] = []
        self.pairs: list[Pair] = []
        self.reached = threading.Event()
        self.first = id  # called with the pair, before anything else happens at the point
        self._point = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def at(self, number, when, act):
        """Call `act(proxy, pair)` once, before, during or after statement `number`."""
        self._point = (number, when, act)

    def close(self):
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self):
        """Close all connections on both sides."""
        for pair in self.pairs:
            pair.close()

    def refuse(self):
        """Take no more connections."""
        self._closed = True

    def _accept(self):
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            if self._closed:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            pair = Pair(len(self.pairs) + 1, client, server)
            self.pairs.append(pair)
        back = threading.Thread(target=self._answer, args=(pair,), daemon=True)
        back.start()
        with contextlib.suppress(OSError, Gone):
            self._ask(pair)
        # The server has to see that its client is gone, as it does without anything in between.
        with contextlib.suppress(OSError):
            pair.server.shutdown(socket.SHUT_WR)

    def _ask(self, pair):
        """Pass on what the migrator sends, message by message."""
        end = _Reading(pair.client)
        head = end.exactly(4)
        body = end.exactly(struct.unpack("!I", head)[0] - 4)
        parts = body[4:].split(b"\0")
        pair.database = dict(zip(parts[::2], parts[1::2], strict=False))[b"database"].decode()
        self._count(pair, CONNECT)
        self._forward(pair, head + body)
        while True:
            kind, head = end.exactly(1), end.exactly(4)
            body = end.exactly(struct.unpack("!I", head)[0] - 4)
            counted = kind == b"Q" and not _UNCOUNTED.search(body)
            if counted:
                self._count(pair, _shown(body))
            elif kind == b"Q":
                pair.sent = None
            if counted:
                self._forward(pair, kind + head + body)
            else:
                pair.server.sendall(kind + head + body)

    def _count(self, pair, text):
        with self._lock:
            pair.sent = Sent(len(self.sent) + 1, pair.number, text)
            self.sent.append(pair.sent)

    def _forward(self, pair, data):
        if self._point and self._point[0] == pair.sent.number:
            self.first(pair)
        self._maybe(pair, BEFORE)
        pair.server.sendall(data)
        self._maybe(pair, DURING)

    def _is(self, pair, when):
        point, sent = self._point, pair.sent
        return point if point and sent and (sent.number, when) == point[:2] else None

    def _maybe(self, pair, when):
        if point := self._is(pair, when):
            self._point = None
            self.reached.set()
            point[2](self, pair)

    def _answer(self, pair):
        """Pass on what the server answers, whole messages only; a statement is over with ReadyForQuery."""
        with contextlib.suppress(OSError, Gone):
            left = b""
            while part := pair.server.recv(SIZE):
                left += part
                sent = at = 0
                while len(left) >= at + 5 and len(left) > (size := struct.unpack_from("!I", left, at + 1)[0]) + at:
                    if left[at : at + 1] == b"K":
                        pair.pid = struct.unpack_from("!I", left, at + 5)[0]
                    if left[at : at + 1] == b"Z" and self._is(pair, AFTER):
                        pair.client.sendall(left[sent:at])
                        sent = at
                        self._maybe(pair, AFTER)
                    at += size + 1
                pair.client.sendall(left[sent:at])
                left = left[at:]
        pair.close()


class _Reading:
    """A socket read in large parts, and given out in exact ones."""

    def __init__(self, end):
        self._end, self._left = end, b""

    def exactly(self, size):
        while len(self._left) < size:
            part = self._end.recv(SIZE)
            if not part:
                raise Gone
            self._left += part
        data, self._left = self._left[:size], self._left[size:]
        return data


def _shown(body):
    text = " ".join(body.rstrip(b"\0").decode("utf-8", "replace").split())
    return _SECRET.sub("…", text)
