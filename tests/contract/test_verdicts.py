"""Verdicts: every rule finds its bad example, and nothing in its good one; taken out, its example is not found."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from lockstep.contract.footprint import pages
from lockstep.contract.footprint.judge import UNFORESEEN
from lockstep.contract.footprint.rules import RULES
from lockstep.contract.footprint.scene import HARMLESS
from tests.conftest import ROOT
from tests.contract import examples

TELLING = [rule for rule in RULES if rule.verdict != HARMLESS]
PROVING = [rule for rule in RULES if rule.verdict == HARMLESS]


@pytest.fixture(scope="module")
def schema(server):
    with server.database() as url:
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)
        with engine.begin() as connection:
            examples.prepare(connection)
        with engine.connect() as connection:
            yield connection


def rules_of(found):
    return {one.need.rule for one in found}


def try_or_skip(schema, text, *rest, **options):
    try:
        return examples.found(schema, text, *rest, **options)
    except sa.exc.DBAPIError as error:
        if "ICU is not supported" in str(error):
            pytest.skip("this server is built without ICU")
        raise


@pytest.mark.parametrize("rule", TELLING, ids=lambda rule: rule.id)
def test_a_rule_finds_its_bad_example(schema, rule):
    assert rule.id in rules_of(try_or_skip(schema, rule.bad))


@pytest.mark.parametrize("rule", [rule for rule in TELLING if rule.good], ids=lambda rule: rule.id)
def test_a_rule_lets_its_good_example_pass(schema, rule):
    assert rule.id not in rules_of(try_or_skip(schema, rule.good))


@pytest.mark.parametrize("rule", PROVING, ids=lambda rule: rule.id)
def test_what_is_harmless_is_passed_in_silence(schema, rule):
    assert examples.found(schema, rule.good) == ()


def told(found):
    """What is told of each place, at its worst: by which rule does not count."""
    worst = {}
    for one in found:
        if one.need.rule != UNFORESEEN.id:
            worst.setdefault(one.need.place, one.need.severity)  # errors come first
    return worst


@pytest.mark.parametrize("rule", TELLING, ids=lambda rule: rule.id)
def test_without_a_rule_less_is_told_of_its_bad_example(schema, rule):
    rest = tuple(one for one in RULES if one is not rule)
    # A driver that prepares statements is told of every change of a type: that is one rule's matter alone.
    driver = "asyncpg" if rule.id == "prepared-stale" else "psycopg2"
    whole, less = (told(try_or_skip(schema, rule.bad, using, driver=driver)) for using in (RULES, rest))
    assert whole != less, "another rule tells the same"


@pytest.mark.parametrize("rule", PROVING, ids=lambda rule: rule.id)
def test_a_proof_that_is_taken_out_is_missed(schema, rule):
    rest = tuple(one for one in RULES if one is not rule)
    assert UNFORESEEN.id in rules_of(examples.found(schema, rule.good, rest))


def test_a_change_that_no_rule_knows_is_never_silent(schema):
    assert rules_of(examples.found(schema, UNFORESEEN.bad)) == {UNFORESEEN.id}


def test_ids_are_of_one_rule_each():
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_the_page_is_written_from_the_rules():
    assert (ROOT / "docs" / "verdicts.md").read_text() == pages.text(), (
        "write it anew: python -m lockstep.contract.footprint.pages"
    )
