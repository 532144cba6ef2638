"""Stand-ins for the migrator and the app: say what they were given, and end as they are told."""

import contextlib
import http.server
import os
import signal
import sys
import time

import psycopg2

VERB, *REST = sys.argv[1:]
SECONDS = 120


def login():
    """Say who the environment's URL logs in as, and what of the environment got through."""
    name = "MIGRATOR_DATABASE_URL" if VERB == "migrate" else "DATABASE_URL"
    with contextlib.closing(psycopg2.connect(os.environ[name])) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user || ' in ' || current_database()")
        print(VERB, "as", *cursor.fetchone(), flush=True)
    if VERB == "serve":
        print("serve sees the migrator's URL:", "MIGRATOR_DATABASE_URL" in os.environ, flush=True)


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers everything with 200."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Keep quiet."""


def leave(*_):
    """End as a polite process does."""
    print(VERB, "was told to stop", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, leave)
print(VERB, "pid", os.getpid(), flush=True)
login()
if REST == ["slow"]:
    time.sleep(SECONDS)
if REST:
    sys.exit(int(REST[0]))
if VERB == "serve":
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ready).serve_forever()
