"""What autogenerate looks at: the schemas that were named, and nothing an extension or the ledger brought."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text

from tests.autogenerate.models import put, world

FOREIGN = """
create schema migrator; create table migrator.release (digest text);
create schema auth; create table auth.users (id int);
create schema sales; create table sales.old (id int);
create extension pg_stat_statements;
create table brought (id int); alter extension pg_stat_statements add table brought;
"""


def test_nothing_is_found_where_nothing_changed(project) -> None:
    assert project(world()).revision(world())[0] == []


def test_other_schemas_are_left_alone(project) -> None:
    assert project(world(), FOREIGN).revision(world())[0] == []


def test_a_named_schema_is_compared_the_ledger_never(project) -> None:
    made = project(world(), FOREIGN, schemas=("sales", "migrator"))
    written, review = made.revision(world())
    assert [script.doc for script in written] == ["Change."]
    assert "op.drop_table('old', schema='sales')" in Path(written[0].path).read_text()
    assert any(line.startswith("sales.old: its rows are lost") for line in review)


def test_a_default_that_differs_each_time_is_compared_by_what_it_says(project) -> None:
    def models(default: str) -> MetaData:
        return world(lambda items: items.update(token=Column("token", sa.Uuid, server_default=sa.text(default))))

    made = project(models("gen_random_uuid()"))
    assert made.revision(models("gen_random_uuid()"))[0] == []
    assert len(made.revision(models("(md5(random()::text))::uuid"))[0]) == 1


def test_a_default_written_another_way_is_no_change(project) -> None:
    def models(default: object) -> MetaData:
        return world(lambda items: items.update(size=Column("motto", Text, server_default=default)))

    made = project(models("it's"))
    assert made.revision(models(sa.text("cast('it''s' as text)")))[0] == []


def test_a_check_without_a_name_is_no_change_and_one_written_another_way_neither(project) -> None:
    def models(text: str, name: str | None) -> MetaData:
        return world(put(ck=lambda: CheckConstraint(text, name=name)), names={})

    made = project(models("age > 0 and name in ('a', 'b')", None))
    assert made.revision(models("(age>0) AND name IN ('a','b')", None))[0] == []
    named = project(models("age between 1 and 9", "ages"), at="named")
    assert named.revision(models("(age BETWEEN 1 AND 9)", "ages"))[0] == []


def test_what_may_be_a_rename_is_said(project) -> None:
    def after(metadata: MetaData) -> None:
        Table("notes", metadata, Column("id", Integer, primary_key=True), Column("body", Text))

    def before(metadata: MetaData) -> None:
        Table("memos", metadata, Column("id", Integer, primary_key=True), Column("body", Text))

    _, review = project(world(more=before)).revision(world(put(nick=lambda: Column("nick", Text)), more=after))
    cure = "if so, add the new one, write both, copy, and drop the old one in a later release"
    assert f"is notes the renamed memos? {cure}" in review


def test_what_is_not_compared_is_said(project) -> None:
    _, review = project(world()).revision(world(put(nick=lambda: Column("nick", Text))))
    assert review[-1].startswith("not compared, write by hand: sequences, exclusion constraints")
