"""URLs, arguments and variables, none of which can be used; {S} stands for a secret that nobody may show."""

# ruff: noqa: E501 - a corpus is read by the line

URLS = [
    "x", "{S}", "postgres", "postgresql", "postgresql:", "postgresql:/", "postgresql:/{S}", "postgres:{S}@h/d", "//u:{S}@h/d",
    "http://u:{S}@127.0.0.1/d", "https://u:{S}@h/d", "mysql://u:{S}@h/d", "sqlite:///{S}", "sqlite://", "file:///etc/passwd",
    "jdbc:postgresql://127.0.0.1/d?password={S}", "POSTGRESQL//u:{S}@h/d", "postgre://u:{S}@127.0.0.1/d", "postgresqll://u:{S}@h/d",
    "driver://user:{S}@localhost/dbname", "postgresql+://u:{S}@h/d", "redis://:{S}@h", "mongodb://u:{S}@h/d", "${DATABASE_URL}", "$DATABASE_URL",
    "'postgresql://u:{S}@127.0.0.1:1/d'", '"postgresql://u:{S}@127.0.0.1:1/d"', "`id`", "$(id)", "host=127.0.0.1 password={S}",
    "postgresql://u:{S}@127.0.0.1:99999/d", "postgresql://u:{S}@127.0.0.1:0/d", "postgresql://u:{S}@127.0.0.1:-1/d",
    "postgresql://u:{S}@127.0.0.1:port/d", "postgresql://u:{S}@127.0.0.1:5432x/d", "postgresql://u:{S}@127.0.0.1:5 432/d",
    "postgresql://u:{S}@127.0.0.1:٥٤٣٢/d", "postgresql://u:{S}@127.0.0.1:" + "9" * 400 + "/d", "postgresql://u:{S}@127.0.0.1:0x1538/d",
    "postgresql://u:{S}@[::1/d", "postgresql://u:{S}@::1]/d", "postgresql://u:{S}@[]/d", "postgresql://u:{S}@[nonsense]/d",
    "postgresql://u:p@{S}@127.0.0.1/d", "postgresql://u:p/{S}@127.0.0.1/d", "postgresql://u:{S}#@127.0.0.1/d", "postgresql://u:{S}?@127.0.0.1:1/d",
    "postgresql://u:%{S}@127.0.0.1:1/d", "postgresql://u:%zz{S}@127.0.0.1:1/d", "postgresql://u:{S}%@127.0.0.1:1/d", "postgresql://u:%00{S}@127.0.0.1:1/d",
    "postgresql://u:{S}@127.0.0.1:1/d?", "postgresql://u:{S}@127.0.0.1:1/d?nonsense=1", "postgresql://u:{S}@127.0.0.1:1/d?ssl=true",
    "postgresql://u:{S}@127.0.0.1:1/d?sslmode", "postgresql://u:{S}@127.0.0.1:1/d?sslmode=", "postgresql://u:{S}@127.0.0.1:1/d?sslmode=nonsense",
    "postgresql://u:{S}@127.0.0.1:1/d?sslmode=require&sslmode=disable", "postgresql://u:{S}@127.0.0.1:1/d?=1", "postgresql://u:{S}@127.0.0.1:1/d?&",
    "postgresql://u:{S}@127.0.0.1:1/d?password={S}", "postgresql://127.0.0.1:1/d?password={S}", "postgresql://127.0.0.1:1/d?user=u&passwort={S}",
    "postgresql://u:{S}@127.0.0.1:1/d?connect_timeout=x", "postgresql://u:{S}@127.0.0.1:1/d?connect_timeout=-5", "postgresql://u:{S}@127.0.0.1:1/d?options=-c%20nonsense%3D1",
    "postgresql://u:{S}@127.0.0.1:1/d?target_session_attrs=nonsense", "postgresql://u:{S}@127.0.0.1:1/d?sslrootcert=/nowhere&sslmode=verify-full",
    "postgresql://u:{S}@127.0.0.1:1/d?channel_binding=nonsense", "postgresql://u:{S}@127.0.0.1:1/d?gssencmode=nonsense", "postgresql://u:{S}@127.0.0.1:1/d?keepalives=x",
    "postgresql://u:{S}@127.0.0.1:1/d?service=nowhere", "postgresql://u:{S}@127.0.0.1:1/d?passfile=/nowhere", "postgresql://u:{S}@127.0.0.1:1/d?load_balance_hosts=x",
    "postgresql://u:{S}@127.0.0.1:1/d?client_encoding=nonsense", "postgresql://u:{S}@127.0.0.1:1/d?application_name=%00", "postgresql://u:{S}@127.0.0.1:1/d?sslcert=/etc/passwd",
    "postgresql://u:{S}@127.0.0.1:1", "postgresql://u:{S}@127.0.0.1:1/", "postgresql://:{S}@127.0.0.1:1/d", "postgresql://u:@127.0.0.1:1/d", "postgresql://@127.0.0.1:1/d",
    "postgresql://u:{S}@127.0.0.1:1/d/e/f", "postgresql://u:{S}@127.0.0.1:1/" + "d" * 500, "postgresql://u:{S}@127.0.0.1:1/%00", "postgresql://u:{S}@127.0.0.1:1/d\te",
    "postgresql://u:{S}@127.0.0.1:1/d e", "postgresql://u:{S}@127.0.0.1:1/d\nx", "postgresql://u:{S}@nowhere.invalid/d", "postgresql://u:{S}@" + "a" * 300 + ".invalid/d",
    "postgresql://u:{S}@-/d", "postgresql://u:{S}@./d", "postgresql://u:{S}@*/d", "postgresql://u:{S}@%2Fnowhere/d", "postgresql://u:{S}@%2Ftmp%2Fnowhere:1/d",
    "postgresql://u:{S}@127.0.0.1:1,127.0.0.1:2/d", "postgresql://u:{S}@127.0.0.1,127.0.0.1:x/d", "postgresql://u:{S}@,/d", "postgresql://u:{S}@256.256.256.256:1/d",
    "postgresql://u\x01:{S}@127.0.0.1:1/d", "postgresql://ü:{S}ß@127.0.0.1:1/d", "postgresql://u:{S}\u202e@127.0.0.1:1/d", "\ufeffpostgresql://u:{S}@127.0.0.1:1/d",
    "postgresql://u:{S}@127.0.0.1:1/d postgresql://u:{S}@127.0.0.1:1/d", "postgresql://u:{S}@127.0.0.1:1/d;DROP TABLE t", "MIGRATOR_DATABASE_URL=postgresql://u:{S}@127.0.0.1:1/d",
    "postgresql://" + "u" * 5000 + ":{S}@127.0.0.1:1/d", "postgresql://u:" + "p" * 100_000 + "{S}@127.0.0.1:1/d", "postgresql+psycopg2://u:{S}@127.0.0.1:1/d",
    "postgresql+asyncpg://u:{S}@127.0.0.1:1/d?server_settings=x", "cockroachdb://u:{S}@h/d", "redshift+psycopg2://u:{S}@h/d",
]  # fmt: skip

# Arguments on the command line; the database is a sound one, with a revision pending that fails.
ARGUMENTS = [
    [], ["nonsense"], ["--nonsense"], ["UPGRADE"], ["upgrade", "--nonsense"], ["upgrade", "a", "b"], ["upgrade", ""], ["upgrade", "nowhere"],
    ["upgrade", "-1"], ["upgrade", "+99"], ["upgrade", "+x"], ["upgrade", "a1:b2"], ["upgrade", "heads@nowhere"], ["upgrade", "@"], ["upgrade", "'; DROP TABLE t; --"],
    ["upgrade", "*"], ["upgrade", "../../etc/passwd"], ["upgrade", "\x1b[31m"], ["upgrade", "a" * 5000], ["upgrade", "ü"], ["upgrade", "\udcff"], ["upgrade", "head\n"],
    ["upgrade", "--accept-edited"], ["upgrade", "--accept-edited", ""], ["upgrade", "--accept-edited", "nowhere"], ["upgrade", "--accept-edited", "\n"],
    ["upgrade", "--expect-commit", "x"], ["upgrade", "--expect-commit", "\n"], ["upgrade", "--run-id", "x\ny"], ["upgrade", "--run-id", "x" * 5000], ["upgrade", "--run-id", "'"],
    ["upgrade", "--config", "/nowhere"], ["upgrade", "--config", "/"], ["upgrade", "--config", "/etc/passwd"], ["upgrade", "--config", "\x01"], ["upgrade", "--config", "a" * 5000],
    ["upgrade", "--app-role"], ["upgrade", "--deadline", "x"], ["upgrade", "--deadline", "0"], ["upgrade", "--lock-timeout", "0"], ["upgrade", "--lock-timeout", "10min"],
    ["upgrade", "--deadline=-1s"], ["upgrade", "--wait", "🕐"], ["upgrade", "--tls-ca", "/nowhere"], ["upgrade", "--tls-ca", "/"], ["upgrade", "--tls-ca", "/etc/passwd"],
    ["upgrade", "--require-tls"], ["upgrade", "--strict=maybe"], ["upgrade", "--json=1"], ["upgrade", "--", "--json"], ["upgrade", "-x"], ["upgrade", "-"],
    ["downgrade"], ["downgrade", "nowhere"], ["downgrade", "-99"], ["downgrade", "+1"], ["downgrade", "x" * 500], ["downgrade", "base:head"], ["downgrade", "-x"], ["downgrade", ""],
    ["plan", "nowhere"], ["plan", "a", "b"], ["plan", ""], ["status", "x"], ["history", "--limit"], ["history", "--limit", "x"], ["history", "--limit", "-1"], ["history", "--limit", "9" * 40],
    ["history", "--limit", "1.5"], ["sql", "x:y"], ["sql", ":"], ["sql", "a1:nowhere"], ["sql", "::"], ["sql", "head:base"], ["check", "x"], ["wait", "x"], ["doctor", "x"],
    ["backfill", "nonsense"], ["backfill", "pause"], ["backfill", "pause", "nowhere"], ["backfill", "resume", "nowhere"], ["backfill", "cancel", "'; DROP TABLE t"], ["backfill", "cancel", ""],
    ["revision"], ["revision", "-m", ""], ["revision", "-m", "x", "--merge"], ["rehearse", "--from", "nowhere"], ["rehearse", "--html", "/nowhere/x"], ["rehearse", "--nonsense"],
]  # fmt: skip

# Variables that hold texts.
VARIABLES = [
    ("MIGRATOR_CONFIG", value) for value in ("/nowhere", "/", ".", "~", "-", "\n", "'", "/etc/shadow/x", "/dev/null", "/proc/self/mem", "x" * 5000)
] + [
    ("MIGRATOR_TARGET", value) for value in ("nowhere", "-1", "+99", "a1:b2", "\x01", "'; DROP TABLE t; --", "${HEAD}", "head head")
] + [
    ("MIGRATOR_EXPECT_COMMIT", value) for value in ("x", "\n", "HEAD", "$(id)", "0" * 41, "é")
] + [
    ("MIGRATOR_RUN_ID", value) for value in ("a b", "\n", "'", "x" * 500, "--json", "é", "%s")
] + [
    ("MIGRATOR_ACCEPT_EDITED", value) for value in ("nowhere", "*", "\n", "a1,b2", "-1", "'; DROP TABLE t; --")
] + [
    ("MIGRATOR_TLS_CA", value) for value in ("/nowhere", "/", "/etc/passwd", "-----BEGIN CERTIFICATE-----", "\n", "/dev/zero")
] + [
    ("MIGRATOR_LIMIT", value) for value in ("x", "-1", "1e3", "0x10", "9" * 100, "½")
] + [
    ("MIGRATOR_EXPOSED_SCHEMAS", value) for value in ("'; DROP TABLE t; --", ",,,", "\n", "x" * 5000, "%s", "pg_catalog")
] + [
    ("MIGRATOR_APP_ROLE", value) for value in ("'; DROP TABLE t; --", "pg_monitor", "public", "x" * 100, "%s", "\x01", '"')
] + [
    ("MIGRATOR_IGNORE_LIVE_RELEASES", value) for value in ("'", "\n", "%s", "x" * 10_000)
] + [
    ("MIGRATOR_COMMIT", value) for value in ("'", "\n", "%s", "x" * 10_000, "\u202e", "'; DROP TABLE t; --")
]  # fmt: skip
