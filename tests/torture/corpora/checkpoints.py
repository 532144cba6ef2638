"""Checkpoints, cut short, edited, swapped, forged, or no text at all; made from the text of a sound one."""

# ruff: noqa: E501 - a corpus is read by the line
import gzip
import re

from lockstep.project import checkpoint_file

FIRST = re.compile(r"^-- (format|server|heads) .*$", re.MULTILINE)


def forged(text):
    """Return a text with the digest that belongs to it: what its writer would have had to write."""
    head, _, rest = text.partition("-- digest ")
    rest = rest.partition("\n")[2]
    return f"{head}-- digest {checkpoint_file._digest(rest)}\n{rest}"


def edited(good):
    """Return texts that are not as they were written: each is refused without being believed."""
    lines = good.splitlines(keepends=True)
    cuts = [good[: len(good) * part // 40] for part in range(1, 40)]
    dropped = ["".join(lines[:place] + lines[place + 1 :]) for place in range(2, len(lines), 2)]
    doubled = ["".join(lines[: place + 1] + lines[place:]) for place in range(3, len(lines), 3)]
    changed = [
        good.upper(), good.lower(), good + good, good + "\n", good + "-- more\n", good + "DROP TABLE t;\n", "".join(reversed(lines)), good[::-1],
        good.replace("sha256:", "sha512:"), good.replace("sha256:", "SHA256:", 1), good.replace("-- digest", "--digest", 1), good.replace("-- digest", "-- digest ", 1),
        good.replace("-- digest ", "-- digest \u202e", 1), re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, good, count=1), re.sub("sha256:[0-9a-f]{64}", "", good, count=1),
        re.sub("sha256:[0-9a-f]{64}", "sha256:" + "f" * 100_000, good, count=1), good.replace("a1", "a2"), good.replace("CREATE", "DROP"), good.replace(";", ""),
        good.replace("\n", "\r"), good.replace("\n", "\n\n"), good.replace("\n", " "), good.replace("\n", "\r\n") + "\n", good.replace("\n", "\r\r\n"), good.replace("\n", "\u2028"),
        "\ufeff" + good.replace("-- seal", "-- seel"), good.replace("t", "\x00"), good.replace("ast", "ast9"), "<<<<<<< HEAD\n" + good + "=======\n" + good + ">>>>>>> theirs\n",
        lines[0] + "<<<<<<< HEAD\n" + "".join(lines[1:9]) + "=======\n" + "".join(lines[1:]) + ">>>>>>> theirs\n", "\n".join(line.strip()[:60] for line in lines),
        good.replace("-- seal", "-- own"), good.replace("'", '"'), good.expandtabs(1) + "\t", good[len(good) // 2 :], good[len(good) // 2 :] + good[: len(good) // 2],
    ]  # fmt: skip
    nothing = [
        "", " ", "\n", "\r\n", "-- digest ", "-- digest \n", "-- digest sha256:\n", "--", ";", "SELECT 1;", "{}", "null", "---\na: b\n", "<html></html>", "%PDF-1.4", "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n",
        "-- digest " * 10_000, "x" * 1_000_000, "(" * 100_000, "é\n" * 100, "\x1b[31mred", "\u202e", "# nothing", "BEGIN;", "\\connect postgres", "--\n-- PostgreSQL database dump\n--\n",
    ]  # fmt: skip
    return [text for text in dict.fromkeys([*cuts, *dropped, *doubled, *changed, *nothing]) if text != good]


def raw(good):
    """Return bytes that are no text of ours at all."""
    data = good.encode()
    return [
        b"\xff\xfe\x00", b"\x00" * 4096, bytes(range(256)), bytes(range(255, -1, -1)) * 16, gzip.compress(data, mtime=0), good.encode("utf-16"), good.encode("utf-16-le"),
        good.encode("utf-32"), data[:400] + b"\xe9" + data[400:], data + b"\x00", data + b"\xff", b"\xef\xbb\xbf\xff" + data, data.replace(b"\n", b"\x85"), b"\x7fELF" + b"\x01" * 500,
        b"PK\x03\x04" + data[300:], b"\xed\xa0\x80" + data, b"\xc0\xaf" * 50, data[400:], bytes(byte ^ 1 for byte in data),
    ]  # fmt: skip


def wrong_heads(good):
    """Return texts with a digest that fits, of another format, server, heads or revisions: each is refused or left unused."""

    def with_line(name, value):
        return re.sub(
            rf"^-- {name} .*$",
            lambda _: f"-- {name} {value}" if value is not None else "--",
            good,
            count=1,
            flags=re.MULTILINE,
        )

    values = {
        "format": ["0", "2", "-1", "x", "", "1.0", "01", " 1", "9" * 5000, "1 1", "None", "\u0661", None],
        "server": ["0", "-1", "x", "", "9" * 5000, "18.1", "None", "1e2", "\x00", "٩٩", "½", "999", None],
        "heads": ["", "nowhere", "a1", "a1 b2", "b2 nowhere", "b2 b2", "'", "'; DROP TABLE t; --", "head", "base", "-1", "b2@head", "x" * 5000, "\x1b[31m", "None", None],
    }  # fmt: skip
    headers = [with_line(name, value) for name, found in values.items() for value in found]
    seals = [line for line in good.splitlines() if line.startswith("-- seal ")]
    last = good[good.index(seals[0]) :]

    def with_seals(*lines):
        return good.replace(last, "".join(f"{line}\n" for line in lines))

    kept = list(seals)
    revisions = [
        with_seals(), with_seals(kept[0]), with_seals(kept[1]), with_seals(*kept[::-1]), with_seals(*kept, "-- seal c3 ast1:abc"), with_seals("-- seal c3 ast1:abc"),
        with_seals("-- seal"), with_seals("-- seal "), with_seals("-- seal a1"), with_seals("-- seal a1", "-- seal b2"), with_seals("-- seal a1 ", "-- seal b2 "),
        with_seals(*(f"{line}0" for line in kept)), with_seals(*(line[:-1] for line in kept)), with_seals(*(line.replace("a1", "A1") for line in kept)),
        with_seals(kept[0].replace("a1", "b2"), kept[1].replace("b2", "a1")), with_seals(*(re.sub(r"\S+$", "x", line) for line in kept)), with_seals(*(re.sub(r"\S+$", "\x00", line) for line in kept)),
        with_seals(*(re.sub(r"\S+$", "'; DROP TABLE t; --", line) for line in kept)), with_seals("-- soul a1 x", "-- soul b2 y"), with_seals(*(f"-- seal r{n} x" for n in range(5000))),
        good.replace("\n-- The revisions it stands for", "\n-- Nothing"), good.replace("\n\n", "\n"),
    ]  # fmt: skip
    return [forged(text) for text in dict.fromkeys([*headers, *revisions]) if text != good]


STATEMENTS = [
    "SELECT 1 / 0;", "nonsense;", "SELECT 'unfinished", "SELECT $$unfinished", "/* unfinished", "SELECT 1;;;SELECT 1 / 0;", "\\connect postgres", "\\i /etc/passwd", "COPY t FROM stdin;\n1\n\\.",
    "COMMIT;", "ROLLBACK;", "END;", "ABORT;", "COMMIT AND CHAIN;", "ROLLBACK AND CHAIN;", "COMMIT; BEGIN;", "ROLLBACK; BEGIN;", "COMMIT; SELECT 1 / 0;", "BEGIN; COMMIT; SELECT 1 / 0;", "PREPARE TRANSACTION 'x';",
    "VACUUM;", "CREATE DATABASE nobody;", "CREATE INDEX CONCURRENTLY ix_odd ON t (id);", "DROP SCHEMA migrator CASCADE;", "DROP TABLE migrator.step;", "DROP TABLE migrator.release;",
    "CREATE TABLE migrator.alembic_version (x int);", "LOCK TABLE migrator.nowhere;", "SET ROLE nobody;", "SET nonsense = 1;", "SET LOCAL client_encoding = 'nonsense';",
    "SELECT pg_terminate_backend(pg_backend_pid());", "SELECT pg_cancel_backend(pg_backend_pid());", "DO $$ BEGIN RAISE EXCEPTION 'no'; END $$;", "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$;", "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$;",
    "SELECT pg_sleep(1000);", "SELECT %s, %(x)s, % FROM nowhere;", "CREATE TABLE t (id int); CREATE TABLE t (id int);", "CREATE EXTENSION nowhere;", "INSERT INTO t VALUES ('x');", "INSERT INTO t SELECT FROM t;", "SET search_path = nowhere; CREATE TABLE x (id int);",
    "(" * 20_000 + ";", "SELECT 1 FROM " + "x" * 100_000 + ";", "\x01;", "é;", "REASSIGN OWNED BY CURRENT_USER TO nobody;", "DISCARD ALL;", "LISTEN x; NOTIFY x; SELECT 1 / 0;", "SELECT pg_advisory_unlock_all(); SELECT 1 / 0;", "SAVEPOINT x; ROLLBACK TO y;",
]  # fmt: skip


def wrong_sql(good):
    """Return texts with a digest and seals that fit, whose SQL cannot be run, or ends its transaction by itself."""
    head, _, rest = good.partition("\n\n")
    tail = rest[rest.index("\n-- The revisions it stands for") :]
    sql = rest[: rest.index("\n-- The revisions it stands for")]
    both = [(f"{statement}\n{sql}", f"{sql}\n{statement}") for statement in STATEMENTS]
    return [forged(f"{head}\n\n{text}\n{tail}") for pair in both for text in pair]
