"""One grammar of durations, for the app and the migrator alike."""

import pytest

from app import settings as app_settings
from lockstep import settings as migrator_settings
from lockstep_gate import durations

URL = "postgresql://app@db/lockstep"
FORMS = {
    "500ms": 500, "90s": 90_000, "90": 90_000, "25m": 1_500_000, "25min": 1_500_000, "1.5h": 5_400_000,
    "2d": 172_800_000, " 1.5 s ": 1_500, "0": 0, "0.001s": 1, "1 min": 60_000,
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_a_number_and_a_unit_is_a_duration(text):
    assert durations.milliseconds(text) == FORMS[text]
    assert durations.seconds(text) == FORMS[text] / 1000


@pytest.mark.parametrize(
    "text", ["", "x", "s", "-5s", "5 weeks", "1e3", "5M", "٣s", "1s 2s", "0x10", "nan", "1.", ".5s", "9" * 13, "1,5s"]
)
def test_anything_else_is_none(text):
    with pytest.raises(ValueError, match="is not a duration"):
        durations.milliseconds(text)


@pytest.mark.parametrize("text", ["4m", "4min", "240s", "240"])
def test_the_app_and_the_migrator_take_the_same_words(text):
    assert app_settings.read({"DATABASE_URL": URL, "REPORT_INTERVAL": text}).report_interval_s == 240
    assert migrator_settings.load({}, {"MIGRATOR_WAIT": text}).wait_ms == 240_000
