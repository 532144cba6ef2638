"""One `masked`: no password of a URL, of a connection string or of a list reaches what people see."""

import pytest

from lockstep_gate.masking import masked, variable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://app:hush@db/x", "at postgresql://app:***@db/x"),
        ("at postgresql://app:hu@sh@db/x", "at postgresql://app:***@db/x"),
        ("host=db password='hu sh' user=app", "host=db password=*** user=app"),
        ("a\x1b[31mline", "a?[31mline"),
        ("no secret: 12:30", "no secret: 12:30"),
    ],
)
def test_passwords_and_control_characters_are_taken_out(text, shown):
    assert masked(text) == shown


def test_secrets_that_are_known_are_taken_out_wherever_they_stand():
    assert masked("key rnd_5tand is revoked", ("rnd_5tand", "", "key")) == "key *** is revoked"


@pytest.mark.parametrize("name", ["RENDER_API_KEY", "DATABASE_URL", "MIGRATOR_APP_PASSWORD", "SENTRY_DSN"])
def test_a_variable_that_may_hold_a_secret_is_only_said_to_be_set(name):
    assert variable(name, "hush") == "(set, 4 characters)"


def test_other_variables_are_shown():
    assert variable("RENDER_EXTERNAL_URL", "https://shop.example") == "https://shop.example"
    assert variable("PORT", "80") == "80"
