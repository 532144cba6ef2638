"""Settings: every variable is checked, every fault named, no secret shown."""

from __future__ import annotations

import dataclasses

import pytest

from app import settings

URL = "postgresql://app:s3cret@db.example:5432/lockstep"


def faults(**environ):
    with pytest.raises(settings.SettingsError) as caught:
        settings.read({"DATABASE_URL": URL} | environ)
    return str(caught.value).splitlines()


def test_defaults_need_only_a_database_url():
    given = settings.read({"DATABASE_URL": URL})
    assert (given.host, given.port, given.commit, given.pool_size) == ("0.0.0.0", 8000, "unknown", 5)  # noqa: S104
    assert (given.report_interval_s, given.statement_timeout_s, given.shutdown_timeout_s) == (60, 5, 20)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_schemes_that_platforms_hand_out_are_accepted(scheme):
    given = settings.read({"DATABASE_URL": f"{scheme}://app:s3cret@db.example/lockstep?sslmode=require"})
    assert given.database_url.render_as_string() == "postgresql+psycopg2://app:***@db.example/lockstep?sslmode=require"


def test_settings_are_frozen_and_show_no_password():
    given = settings.read({"DATABASE_URL": URL})
    assert "s3cret" not in f"{given!r} {given.database_url!r} {given.database_url!s}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        given.port = 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "s3cret",
        "mysql://app:s3cret@db.example/lockstep",
        "postgresql+asyncpg://app:s3cret@db.example/lockstep",
        "postgresql://app:s3cret@db.example",
        "postgresql:///lockstep",
        "postgresql://app:s3cret@db.example:port/lockstep",
        "postgresql://app:s3cret@db.example:99999/lockstep",
        "postgresql://app:s3cret@db.example/lockstep?nonsense=s3cret",
        "postgresql://app:s3cret@[::1/lockstep",
    ],
)
def test_a_url_we_cannot_use_is_one_line_with_the_cure_and_without_the_secret(url):
    (line,) = faults(DATABASE_URL=url)
    assert line.startswith("DATABASE_URL ")
    assert "postgresql://user:password@host:port/database" in line
    assert "s3cret" not in line


def test_every_fault_is_named_at_once():
    lines = faults(DATABASE_URL="", PORT="http", REPORT_INTERVAL="1y", DATABASE_POOL_SIZE="0")
    assert [line.split("=")[0].split()[0] for line in lines] == [
        "DATABASE_URL",
        "PORT",
        "DATABASE_POOL_SIZE",
        "REPORT_INTERVAL",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("500ms", 0.5), ("5m", 300), (" 2s ", 2)]
)
def test_durations_carry_their_unit(text, seconds):
    assert settings.read({"DATABASE_URL": URL, "REPORT_INTERVAL": text}).report_interval_s == seconds


@pytest.mark.parametrize("text", ["0", "-1s", "1h", "1e3", "\u0661s", "s", "1  x", "nan", "9" * 30])
def test_durations_out_of_bounds_or_out_of_form_are_refused(text):
    (line,) = faults(REPORT_INTERVAL=text)
    assert line.endswith("is not a duration from 0.1s to 300s, such as 30s or 1m")


@pytest.mark.parametrize("text", ["-1", "65536", "8000.0", "0x10", "\uff11", "9" * 5000])
def test_ports_that_cannot_be_are_refused(text):
    (line,) = faults(PORT=text)
    assert line.endswith("is not a whole number from 0 to 65535")
    assert len(line) < 120


def test_the_commit_is_the_one_baked_in_before_the_platforms():
    environ = {"DATABASE_URL": URL, "RENDER_GIT_COMMIT": "platform"}
    assert settings.read(environ).commit == "platform"
    assert settings.read(environ | {"IMAGE_COMMIT": "baked"}).commit == "baked"
    assert settings.read(environ | {"IMAGE_COMMIT": ""}).commit == "platform"
