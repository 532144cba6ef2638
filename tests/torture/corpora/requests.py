"""Requests to the app, as bytes; {S} is a secret that no answer may show."""

# ruff: noqa: E501 - a corpus is read by the line

_TARGETS = [
    "/", "//", "///", "/.", "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/users/..", "/users/%2e%2e", "/users/", "/users//", "/users/x", "/users/0", "/users/-1", "/users/1.5", "/users/1e3", "/users/0x1", "/users/٣", "/users/%D9%A3",
    "/users/9223372036854775807", "/users/9223372036854775808", "/users/" + "9" * 4000, "/users/1/2", "/users/1;x=1", "/users/1%00", "/users/%00", "/users/%", "/users/%zz", "/users/%ff", "/users/%ed%a0%80", "/users/null", "/users/None", "/users/*",
    "/users/'", "/users/1'%20OR%201=1--", "/users/1;DROP%20TABLE%20users", "/users?", "/users?&", "/users?=", "/users?x", "/users?x=1", "/users?limit", "/users?limit=", "/users?limit=0", "/users?limit=-1", "/users?limit=x", "/users?limit=1e3",
    "/users?limit=" + "9" * 300, "/users?limit=1&limit=2", "/users?limit=%00", "/users?limit=٣", "/users?cursor=", "/users?cursor=x", "/users?cursor=%00", "/users?cursor=" + "A" * 3000, "/users?cursor=e30=", "/users?cursor=bnVsbA==", "/users?cursor=W10=",
    "/users?cursor=eyJpZCI6Ii0xIn0=", "/users?cursor=MQ==&cursor=Mg==", "/users?cursor='%20OR%201=1", "/users?organisation_id=", "/users?organisation_id=x", "/users?organisation_id=-1", "/users?organisation_id=0", "/users?organisation_id=" + "9" * 40,
    "/users?organisation_id=null", "/users?organisation_id=1&organisation_id=2", "/users?organisation_id=%00", "/users?email=x", "/users?" + "&".join(f"a{n}=1" for n in range(500)), "/users?a[]=1", "/users?%00=1", "/users?\xff=1", "/users#x", "/users?x#y",
    "http://other.example/users", "http://u:{S}@other.example/users", "*", "users", "", "?", "/organisations/x", "/organisations?cursor=x", "/organisations?limit=x", "/healthz/x", "/readyz/", "/livez?x=1", "/nowhere", "/NOWHERE", "/Users", "/USERS/1", "/favicon.ico",
    "/robots.txt", "/.env", "/.git/config", "/wp-login.php", "/docs", "/openapi.json", "/metrics", "/admin", "/" + "a" * 7000, "/" + "a/" * 2000, "/" + "%41" * 2000, "/\x7f", "/é", "/\x01", "/a b",
]  # fmt: skip
_METHODS = [
    "PUT",
    "TRACE",
    "OPTIONS",
    "CONNECT",
    "FOO",
    "get",
    "GETGET",
    "PROPFIND",
    "PATCH",
    "HEAD",
    "DELETE",
    "M" * 2000,
    "-",
    "G\x01T",
    "é",
    "",
]
_BODIES = [
    b"", b" ", b"null", b"true", b"1", b'""', b"[]", b"[[]]", b"{", b"}", b"{}", b'{"email"}', b'{"email":}', b'{"email": 1}', b'{"email": null, "name": null}', b'{"email": [], "name": {}}', b'{"email": "", "name": ""}', b'{"email": "x", "name": "y"}',
    b'{"email": "a@b", "name": ""}', b'{"email": "a@b", "name": " "}', b'{"email": "a@b@c", "name": "x"}', b'{"email": "a@b", "name": "\\u0000"}', b'{"email": "a\\u0000@b", "name": "x"}', b'{"email": "a@b", "name": "\\ud800"}', b'{"email": "a@b", "name": "x\\ny"}',
    b'{"email": "a@b", "name": "x", "id": 7}', b'{"email": "a@b", "name": "x", "created_at": "now"}', b'{"email": "a@b", "name": "x", "role": "admin"}', b'{"email": "a@b", "name": "x", "__proto__": {}}', b'{"email": "a@b", "name": "x", "organisation_id": 0}',
    b'{"email": "a@b", "name": "x", "organisation_id": -1}', b'{"email": "a@b", "name": "x", "organisation_id": 99999999}', b'{"email": "a@b", "name": "x", "organisation_id": 1e400}', b'{"email": "a@b", "name": "x", "organisation_id": 1.0}',
    b'{"email": "a@b", "name": "x", "organisation_id": "1"}', b'{"email": "a@b", "name": "x", "organisation_id": true}', b'{"email": "a@b", "name": "x", "organisation_id": ' + b"9" * 4000 + b"}", b'{"email": "a@b", "name": "x", "phone_number": 1}',
    b'{"email": "a@b", "name": "x", "phone_number": ""}', b'{"email": "a@b", "name": "x", "phone_number": "x"}', b'{"email": "a@b", "name": "x", "phone_number": "+"}', b'{"email": "a@b", "name": "' + b"x" * 201 + b'"}', b'{"email": "' + b"x" * 300 + b'@b", "name": "x"}',
    b'{"email": "a@b", "name": "x"', b'{"email": "a@b", "name": "x"}}', b'{"email": "a@b", "name": "x"} x', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\x00", b"\xff", b'{"name": "\xff"}', b"NaN", b"Infinity", b"-", b"1e999", b"'x'", b"// x\n{}", b"{'email': 'a@b'}",
    b"[" * 30_000, b'{"a":' * 9_000, b'{"' + b"k" * 30_000 + b'": 1}', b"{" + b",".join(b'"k%d": 1' % n for n in range(3000)) + b"}", b"x" * 70_000, b"a=1&b=2", b"<xml/>", b"--x\r\nContent-Disposition: form-data\r\n\r\n",
]  # fmt: skip
_HEADERS = [
    "Content-Type: text/plain", "Content-Type:", "Content-Type: application/json; charset=utf-16", "Content-Type: application/json; charset=nonsense", "Content-Type: " + "x" * 5000, "Content-Type: application/json, text/html", "Content-Type: ;", "Content-Type: \xff",
    "Content-Length: x", "Content-Length: -1", "Content-Length: 1e3", "Content-Length: 99999999999999999999", "Content-Length: 0x10", "Content-Length:", "Content-Length: 5\r\nContent-Length: 6", "Transfer-Encoding: chunked", "Transfer-Encoding: nonsense",
    "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Encoding: gzip", "Expect: 100-continue", "Expect: nonsense", "Host:", "Host: \xff", "Host: a\r\nHost: b", "Host: " + "x" * 5000, "Connection: nonsense", "Connection: Upgrade\r\nUpgrade: websocket",
    "Upgrade: h2c", "X-Forwarded-For: '", "X-Forwarded-For: " + "1.1.1.1, " * 500, "X-Forwarded-Proto: javascript", "X-Forwarded-Host: evil.example", "Cookie: " + "a=b; " * 800, "Authorization: Basic \xff", "Authorization: Bearer {S}", "Range: bytes=0-", "Range: nonsense",
    "Accept: nonsense", "Accept-Encoding: \x01", "If-Match: *", "If-Modified-Since: x", "X-Request-Id: \x1b[31m", "X-Request-Id: a\tb", "X: " + "y" * 60_000, ": no name", "no colon", "Bad Name: x", "X-Http-Method-Override: DELETE", "Te: trailers", 'Forwarded: for="[::1', " folded: x",
]  # fmt: skip
_RAW = [
    b"\r\n", b"\r\n\r\n", b"\x00" * 50, b"\xff" * 50, b"GET", b"GET /", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET / HTTP/1.1", b"GET /users\r\n\r\n", b"GET  /users  HTTP/1.1\r\n\r\n", b"GET /users HTTP/1.1\n\n", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-x\r\n", b"POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n", b"POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n-1\r\n",
    b"POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /users HTTP/1.1\r\nHost: x\r\n\r\nGET /users HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX\r\n: y\r\n\r\n",
]  # fmt: skip
_JSON = b"Content-Type: application/json\r\n"


def _request(method, target, headers=b"", body=b""):
    line = (
        f"{method} {target} HTTP/1.1\r\n".encode("latin-1", "replace") + b"Host: x\r\nConnection: close\r\n" + headers
    )
    return line + (b"Content-Length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body


REQUESTS = list(
    dict.fromkeys(
        [
            *(_request("GET", target) for target in _TARGETS),
            *(_request(method, "/users/1") for method in _METHODS),
            *(_request("POST", "/users", _JSON, body) for body in _BODIES),
            *(_request("PATCH", "/users/1", _JSON, body) for body in _BODIES[:20]),
            *(_request("POST", "/organisations", _JSON, body) for body in _BODIES[:12]),
            *(_request("POST", "/users", head.encode("latin-1") + b"\r\n", b"{}") for head in _HEADERS),
            *_RAW,
        ]
    )
)
