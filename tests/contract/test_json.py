"""A contract as the ledger keeps it: the same bytes for the same needs, and no guessing at what it cannot read."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from lockstep import contract
from tests.contract.releases import ColumnSpec, TableSpec, release


def example(*kinds: str) -> contract.Contract:
    columns = tuple(ColumnSpec(kind, nullable=True, default="none") for kind in kinds)
    return contract.derive(release((TableSpec("identity", columns),)).metadata)


def test_a_contract_survives_the_ledger():
    needs = example("enum", "numeric62", "texts")
    again = contract.Contract.from_json(needs.to_json())
    assert again.to_json() == needs.to_json()
    assert {column for table in again.tables for column in table.columns} == {
        c for t in needs.tables for c in t.columns
    }


def test_a_contract_that_jsonb_has_rearranged_is_the_same():
    text = example("enum").to_json()
    rearranged = json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert contract.Contract.from_json(rearranged).to_json() == text


def test_the_order_of_tables_and_columns_is_no_difference():
    one, other = sa.MetaData(), sa.MetaData()
    sa.Table("a", one, sa.Column("x", sa.Text), sa.Column("y", sa.Text))
    sa.Table("b", one, sa.Column("x", sa.Text))
    sa.Table("b", other, sa.Column("x", sa.Text))
    sa.Table("a", other, sa.Column("y", sa.Text), sa.Column("x", sa.Text))
    assert contract.derive(one).to_json() == contract.derive(other).to_json()


def test_the_text_of_a_contract_is_stable():
    models = sa.MetaData()
    sa.Table("t", models, sa.Column("id", sa.Integer, primary_key=True), schema="app")
    assert contract.derive(models).to_json() == (
        '{"format":1,"sequences":[],"tables":[{"columns":[{"may_omit_on_insert":true,"may_write_null":false,'
        '"name":"id","type":"integer","writes":true}],"name":"t","schema":"app"}]}'
    )


def test_a_newer_format_is_refused_with_its_version():
    with pytest.raises(contract.ContractError) as caught:
        contract.Contract.from_json('{"format": 7, "needs": []}')
    assert caught.value.message == "a release contract of format 7 is recorded; this migrator knows formats up to 1"
    assert caught.value.code == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"format": "1", "tables": [], "sequences": []}',
        '{"format": true, "tables": [], "sequences": []}',
        '{"format": 1, "sequences": []}',
        '{"format": 1, "tables": [{"schema": null, "name": "t"}], "sequences": []}',
        '{"format": 1, "tables": [{"schema": null, "name": 5, "columns": []}], "sequences": []}',
        '{"format": 1, "tables": [{"schema": null, "name": "t", "columns": [{"name": "c"}]}], "sequences": []}',
        example("text").to_json().replace("true", '"yes"'),
        example("text").to_json().replace('"writes"', '"reads"'),
        example("text").to_json().replace('"type":"text"', '"type":null'),
        example("text").to_json().replace('"name":"c0"', '"name":"id"'),
    ],
)
def test_a_contract_edited_by_hand_is_refused_in_one_line(text):
    with pytest.raises(contract.ContractError, match="is not one that a migrator wrote") as caught:
        contract.Contract.from_json(text)
    assert "\n" not in caught.value.message
    assert caught.value.cure
