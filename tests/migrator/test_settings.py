"""Settings: durations, how flag, variable and default rank, and that nothing shows a secret."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import settings
from lockstep.errors import MigratorError, Usage
from lockstep.postgres.address import address


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("50ms", 50), ("30s", 30_000), ("20min", 1_200_000), ("2h", 7_200_000), ("1d", 86_400_000), ("90", 90_000),
     (" 1.5 s ", 1500), ("0", 0), ("25m", 1_500_000), ("25min", 1_500_000)],
)  # fmt: skip
def test_a_duration_is_a_number_and_a_unit(text, milliseconds):
    assert settings.duration_ms(text, "--wait") == milliseconds


@pytest.mark.parametrize(
    "text", ["", "x", "-5s", "5 weeks", "1e3", "5M", "30d", "9" * 400, "٣s", "1s 2s", "0x10", "nan"]
)
def test_what_is_no_duration_names_the_setting(text):
    with pytest.raises(Usage, match=r"^--wait: "):
        settings.duration_ms(text, "--wait")


@given(st.text())
def test_no_text_is_worse_than_wrong_usage(text):
    with contextlib.suppress(Usage):
        assert 0 <= settings.duration_ms(text, "--wait") < 2**31


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default():
    assert settings.load({}, {}).wait_ms == 60_000
    assert settings.load({}, {"MIGRATOR_WAIT": "7s"}).wait_ms == 7000
    assert settings.load({"wait_ms": "5s"}, {"MIGRATOR_WAIT": "7s"}).wait_ms == 5000


def test_the_migrators_url_wins_over_the_apps():
    assert settings.load({}, {"DATABASE_URL": "a"}).database_url == "a"
    assert settings.load({}, {"DATABASE_URL": "a", "MIGRATOR_DATABASE_URL": "b"}).database_url == "b"


def test_the_commit_is_the_images_else_the_platforms_else_unknown():
    assert settings.load({}, {}).commit == "unknown"
    assert settings.load({}, {"RENDER_GIT_COMMIT": "r"}).commit == "r"
    assert settings.load({}, {"RENDER_GIT_COMMIT": "r", "IMAGE_COMMIT": "i"}).commit == "i"
    assert settings.load({"commit": "c"}, {"IMAGE_COMMIT": "i"}).commit == "c"


@pytest.mark.parametrize(
    ("environment", "sign"),
    [
        ({"MIGRATOR_LOCK_TIMEOUT": "5min", "MIGRATOR_STATEMENT_TIMEOUT": "5min"}, "--lock-timeout has to be shorter"),
        ({"MIGRATOR_LOCK_TIMEOUT": "0"}, "--lock-timeout is 0"),
        ({"MIGRATOR_DEADLINE": "0"}, "--deadline is 0"),
        ({"MIGRATOR_CONFIG": "/nowhere/alembic.ini"}, "no Alembic configuration at /nowhere/alembic.ini"),
        ({"MIGRATOR_DEADLINE": "soon"}, "MIGRATOR_DEADLINE: 'soon' is not a duration"),
    ],
)
def test_settings_that_cannot_be_are_wrong_usage(environment, sign):
    with pytest.raises(Usage, match=sign):
        settings.load({}, environment)


def test_settings_show_no_secret():
    secret = settings.load({}, {"DATABASE_URL": "postgresql://u:hunter2@h/d", "MIGRATOR_APP_PASSWORD": "hunter3"})
    assert "hunter" not in repr(secret)
    assert "hunter" not in repr(address(secret.database_url))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://u:hunter2@h/d", "u@h:5432/d"),
        ("postgresql://u:hunter2@h:6543/d?sslmode=require", "u@h:6543/d"),
        ("postgresql+psycopg2://u:hunter2@h/d", "u@h:5432/d"),
        ("postgresql+asyncpg://u:hunter2@h/d", "u@h:5432/d"),
        ("  postgresql://u:hunter2@h/d\n", "u@h:5432/d"),
        ("postgresql://u:hunter2%40%2F%23@h/d", "u@h:5432/d"),
        ("postgresql://u:hunter2@[::1]:5433/d", "u@::1:5433/d"),
        ("postgresql:///d?host=/run/postgresql&user=u&password=hunter2", "u@/run/postgresql:5432/d"),
        ("postgresql://u:1?hunter2@h/d", "u@h:5432/d"),
        ("postgresql://u:1#hunter2@h/d", "u@h:5432/d"),
        ("postgresql://%C3%A9:hunter2@h/d", "é@h:5432/d"),
    ],
)
def test_urls_that_are_taken(url, shown):
    where = address(url)
    assert where.shown == shown
    assert where.dsn.startswith("postgresql://")


@pytest.mark.parametrize(
    "url",
    [
        "", "   ", "mysql://u:hunter2@h/d", "u:hunter2@h/d", "postgresql//u:hunter2@h/d", "postgresql:hunter2@h",
        "postgresql://u:hunter2%@h/d", "postgresql://u:hunter2%zz@h/d", "postgresql://u:hunter2%00@h/d",
        "postgresql://u:p@hunter2@h/d", "postgresql://u:1/hunter2@h/d", "postgresql://u:hunter2@h:port/d", "postgresql://u:hunter2@h:99999999999/d",
        "postgresql://u:hunter2@h:/d?nonsense=hunter2", "postgresql://u:hunter2@[::1/d", "postgresql://u:hunter2%ff@h/d",
        "postgresql://u:hunter2\udcff@h/d", "host=h password=hunter2", "postgresql://u:1/hunter2?x=@h/d",
        "postgresql://u:hunter2@h:0/d", "postgresql://u:hunter2@h:70000/d",
    ],
)  # fmt: skip
def test_urls_that_are_not_taken_are_wrong_usage_and_never_shown(url):
    with pytest.raises(Usage) as caught:
        address(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.cure


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_password_whatever_is_in_it_is_shown(password):
    secret = "hunter2" + password + "hunter2"
    try:
        shown = repr(address(f"postgresql://u:{secret}@h/d"))
    except MigratorError as error:
        shown = f"{error}{error.details}"
    assert "hunter2" not in shown
