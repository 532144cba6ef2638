"""New limits, tried on what the models may write: what it may is not refused unseen, what holds for all is not said."""

from __future__ import annotations

import pytest

from tests.contract.examples import found
from tests.contract.test_verdicts import schema  # noqa: F401 - the fixture

BREAKS, UNKNOWN, NOTHING = {"error"}, {"warning"}, set()
# On `orders` of the examples: mood is an Enum of sad and ok, state and short are String(20), all may be NULL.
NEW = {
    "mood <> 'sad'": BREAKS,
    "mood IN ('sad', 'ok')": NOTHING,
    "mood IS NOT NULL": BREAKS,
    "mood IS NULL OR length(mood::text) < 9": NOTHING,
    "length(mood::text) < 3": BREAKS,
    "short <> '' AND length(short) < 20": BREAKS,
    "length(short) <= 20": UNKNOWN,
    "short LIKE 'a%'": UNKNOWN,
    "length(short) < 20 AND short LIKE 'a%'": UNKNOWN,
    "short IS NOT NULL": BREAKS,
    "amount > 0": UNKNOWN,
    "mood <> 'sad' OR short IS NOT NULL": UNKNOWN,
    "mood::text < current_user": UNKNOWN,
}


@pytest.mark.parametrize("expression", NEW)
def test_a_new_check_is_tried_on_what_the_models_may_write(schema, expression):  # noqa: F811
    said = found(schema, f"ALTER TABLE orders ADD CONSTRAINT fresh CHECK ({expression}) NOT VALID")
    severities = {one.need.severity for one in said}
    assert (severities - UNKNOWN if severities >= BREAKS else severities) == NEW[expression], said


GENERATED = {
    "int GENERATED ALWAYS AS (CASE mood WHEN 'ok' THEN 1 END) STORED": NOTHING,
    "int NOT NULL GENERATED ALWAYS AS (CASE mood WHEN 'ok' THEN 1 WHEN 'sad' THEN 2 END) STORED": BREAKS,  # for NULL
    "int NOT NULL GENERATED ALWAYS AS (CASE mood WHEN 'ok' THEN 1 ELSE 2 END) STORED": NOTHING,
    "int GENERATED ALWAYS AS (10 / CASE mood WHEN 'sad' THEN 0 ELSE 2 END) STORED": BREAKS,
    "int GENERATED ALWAYS AS (10 / CASE mood WHEN 'sad' THEN 1 ELSE 2 END) STORED": NOTHING,
    "int GENERATED ALWAYS AS (10 / amount) STORED": UNKNOWN,
    "int GENERATED ALWAYS AS (10 / (20 - length(short))) STORED": BREAKS,
    "int GENERATED ALWAYS AS (short::int) STORED": UNKNOWN,
}


@pytest.mark.parametrize("column", GENERATED)
def test_a_new_generated_column_is_tried_on_what_the_models_may_write(schema, column):  # noqa: F811
    said = found(schema, f"UPDATE orders SET mood = 'ok', state = 'new'; ALTER TABLE orders ADD COLUMN made {column}")
    severities = {one.need.severity for one in said if one.need.rule in {"generated-fails", "new-generated"}}
    assert (severities - UNKNOWN if severities >= BREAKS else severities) == GENERATED[column], said
