"""Answers of Render's API, none of which it would give: (which request, status, headers, body)."""

# ruff: noqa: E501 - a corpus is read by the line

SERVICE = '{"id": "crn-1", "name": "migrator", "type": "cron_job", "ownerId": "tea-1", "repo": "r", "branch": "main", "suspended": "not_suspended"}'
BODIES = [
    "", " ", "null", "true", "0", "1e999", '""', '"x"', "[]", "[[]]", "[null]", "[1]", "{}", '{"id": null}', '{"id": 1}', '{"id": []}', '{"id": "x"}', '{"id": "crn-1", "name": null, "type": {}}', "{", "[{", "<html>", "\x00",
    "NaN", '[{"cursor": 1}]', '[{"service": null}]', '[{"service": []}]', '[{"service": {}}]', '[{"deploy": null}]', '[{"deploy": {"id": 1, "commit": "x"}}]', '[{"job": 7}]', '{"logs": 1}', '{"logs": [1]}', '{"logs": [{"id": null}]}',
    '{"message": "postgresql://u:{S}@h/d"}', '{"message": {"a": 1}}', '{"id": "job-1", "status": 5}', '{"id": "job-1", "status": "nonsense"}', '{"id": "job-1", "startCommand": 1}', "[" * 3000, '{"a":' * 500, "é" * 50, '"' + "x" * 50_000 + '"',
]  # fmt: skip
WHERE = ["GET /services", "GET /services/crn-1/deploys", "POST /services/crn-1/jobs", "GET /services/crn-1/jobs"]
STATUSES = [
    100,
    199,
    204,
    301,
    302,
    304,
    400,
    402,
    404,
    405,
    408,
    409,
    410,
    418,
    422,
    451,
    500,
    502,
    503,
    504,
    599,
    600,
    999,
]
RETRIES = [
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "x",
    "",
    "99999999999",
    "Fri, 31 Dec 2099 23:59:59 GMT",
    "0x10",
    "1,5",
    "٣",
]
RAW = [
    b"", b"\n", b"nonsense", b"HTTP/1.1", b"HTTP/1.1 \r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"\x16\x03\x01\x02\x00", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=nonsense\r\nContent-Length: 2\r\n\r\n\xff\xfe", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", b"HTTP/1.1 301 Moved\r\nLocation: /v1/services\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n[]\n", b"\x00" * 100,
]  # fmt: skip
