"""Changes: pairs of models, and the titles of the revisions that lead from one to the other."""

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, Text, UniqueConstraint
from sqlalchemy.dialects import postgresql

from tests.autogenerate.models import child, put, references, take

FIRST = "change"  # the message the first revision is given


@dataclass(frozen=True)
class Change:
    """`before` and `after` are arguments of `models.world`."""

    name: str
    titles: tuple[str, ...]
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    rows: str = ""  # SQL that fills what `before` adds
    back: str = ""  # SQL without which the way back fails, for values were lost
    back_at: int = 0  # after how many steps back it is run
    naive: bool = True  # False: what Alembic alone writes fails, so the models are the measure


def column(name: str, type_=Text, *args, **kw) -> dict:
    return {"users": lambda items: items.update({name: Column(name, type_, *args, **kw)})}


def tables(*makers) -> dict:
    return {"more": lambda metadata: [maker(metadata) for maker in makers]}


def label(*labels: str, default: str | None = None):
    def make(metadata: sa.MetaData) -> Table:
        enum = sa.Enum(*labels, name="Mood of day")
        return Table(
            "moods",
            metadata,
            Column("id", sa.Integer, primary_key=True),
            Column("mood", enum, server_default=default),
            Column("moods", sa.ARRAY(enum)),
        )

    return make


def in_schema(*extra, nullable: bool = True):
    def make(metadata: sa.MetaData) -> Table:
        return Table(
            "Line Items",
            metadata,
            Column("id", sa.Integer, primary_key=True, autoincrement=False),
            Column("select", Text, nullable=nullable),
            *(item() for item in extra),
            schema="Order",
        )

    return make


LONG = "l" * 63
ODD = "Odd :name %s"


def odd(*extra):
    def make(metadata: sa.MetaData) -> Table:
        return Table(
            ODD,
            metadata,
            Column("id", sa.Integer, primary_key=True),
            Column("From %(x)s", sa.String(10)),
            Column("user", sa.Integer),
            Column(LONG, sa.Integer),
            *(item() for item in extra),
        )

    return make


CHANGES = [
    Change("add a nullable column", (FIRST,), after=column("phone")),
    Change(
        "add a column with a constant default",
        (FIRST,),
        after=column("level", sa.Integer, nullable=False, server_default="1"),
    ),
    Change(
        "add a column with the time as its default",
        (FIRST,),
        after=column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    ),
    Change(
        "add a column with a volatile default",
        (FIRST,),
        after=column("token", sa.Uuid, server_default=sa.text("gen_random_uuid()")),
    ),
    Change("add a column with a comment", (FIRST,), after=column("phone", comment="with 'country' code: +44")),
    Change("add an indexed column", (FIRST, "add index ix_users_phone"), after=column("phone", index=True)),
    Change(
        "add a unique column",
        (FIRST, "build unique index uq_users_phone", "add constraint uq_users_phone"),
        after=column("phone", unique=True),
    ),
    Change(
        "add a column that references",
        (FIRST, "add fk_users_boss_id_users", "validate fk_users_boss_id_users"),
        after={"users": lambda items: items.update(boss_id=Column("boss_id", sa.ForeignKey("users.id")))},
    ),
    Change("drop a nullable column", (FIRST,), after={"users": take("code")}),
    Change("drop a column with a default", (FIRST,), after={"users": take("age")}),
    Change(
        "drop a required column",
        (FIRST, "drop organisations name"),
        after={"organisations": take("name")},
        back="update organisations set name = 'x'",
        back_at=1,
    ),
    Change("drop an indexed column", (FIRST,), after={"users": take("name", "ix_name")}),
    Change(
        "drop a unique column",
        (FIRST, "drop users email"),
        after={"users": take("email", "uq_email")},
        back="update users set email = id",
        back_at=1,
    ),
    Change(
        "drop a unique column with a default",
        (FIRST, "drop users slug"),
        before={
            "users": put(
                slug=lambda: Column("slug", Text, server_default="x"), uq=lambda: UniqueConstraint("slug", "email")
            )
        },
    ),
    Change(
        "drop a column that references",
        (FIRST, "drop users organisation_id"),
        before={"users": put(fk=references)},
        after={"users": take("organisation_id")},
    ),
    Change(
        "set not null",
        (FIRST, "validate users.name not null", "set users.name not null"),
        after=column("name", nullable=False),
    ),
    Change("drop not null", (FIRST,), after=column("email")),
    Change("change a default", (FIRST,), after=column("age", sa.Integer, nullable=False, server_default="21")),
    Change("drop a default", (FIRST,), after=column("age", sa.Integer, nullable=False)),
    Change(
        "add a default and set not null",
        (FIRST, "refuse null in users.code", "validate users.code not null", "set users.code not null"),
        after=column("code", sa.String(20), server_default="", nullable=False),
    ),
    Change("widen a varchar", (FIRST,), after=column("code", sa.String(40))),
    Change("varchar to text", (FIRST,), after=column("code", Text)),
    Change("change a comment", (FIRST,), before=column("name", comment="old"), after=column("name", comment="new")),
    Change(
        "add a table comment",
        (FIRST,),
        before=tables(lambda m: Table("notes", m, Column("id", sa.Integer, primary_key=True))),
        after=tables(lambda m: Table("notes", m, Column("id", sa.Integer, primary_key=True), comment="of 'us'")),
    ),
    Change("add an index", (FIRST,), after={"users": put(ix=lambda: Index(None, "code", "age"))}),
    Change("add a unique index", (FIRST,), after={"users": put(ix=lambda: Index(None, "code", unique=True))}),
    Change(
        "add an index on an expression, with a predicate",
        (FIRST,),
        after={
            "users": put(
                ix=lambda: Index(
                    "ix_lower",
                    sa.text("lower(name) desc"),
                    postgresql_where=sa.text("age > 0 and name <> '%'"),
                    postgresql_include=["code"],
                )
            )
        },
        naive=False,
    ),
    Change(
        "add a gin index",
        (FIRST,),
        before=column("tags", postgresql.JSONB),
        after=column("tags", postgresql.JSONB, index=True)
        | {
            "users": put(
                tags=lambda: Column("tags", postgresql.JSONB),
                ix=lambda: Index("ix_tags", "tags", postgresql_using="gin", postgresql_ops={"tags": "jsonb_path_ops"}),
            )
        },
    ),
    Change("drop an index", (FIRST,), after={"users": take("ix_name")}),
    Change(
        "replace an index",
        (FIRST, "drop old ix_users_name", "rename ix_users_name"),
        after={"users": put(ix_name=lambda: Index("ix_users_name", "name", "age"))},
    ),
    Change(
        "make an index unique",
        (FIRST, "drop old ix_users_name", "rename ix_users_name"),
        after={"users": put(ix_name=lambda: Index("ix_users_name", "name", unique=True))},
    ),
    Change(
        "add a unique constraint",
        (FIRST, "add constraint uq_users_code_age"),
        after={"users": put(uq=lambda: UniqueConstraint("code", "age"))},
    ),
    Change(
        "add a deferrable unique constraint",
        (FIRST, "add constraint uq_users_code"),
        after={"users": put(uq=lambda: UniqueConstraint("code", deferrable=True, initially="DEFERRED"))},
    ),
    Change("drop a unique constraint", (FIRST,), after={"users": take("uq_email")}),
    Change(
        "replace a unique constraint",
        (FIRST, "add constraint one"),
        before={"users": put(uq=lambda: UniqueConstraint("code", name="one"))},
        after={"users": put(uq=lambda: UniqueConstraint("code", "age", name="one"))},
    ),
    Change(
        "unique constraint to unique index",
        (FIRST, "add index ix_users_email"),
        after={"users": put(uq_email=lambda: Index(None, "email", unique=True))},
    ),
    Change(
        "add a check",
        (FIRST, "validate ck_users_age"),
        after={"users": put(ck=lambda: sa.CheckConstraint("age > 0 AND name LIKE 'n%'", name="age"))},
        naive=False,
    ),
    Change("drop a check", (FIRST,), before={"users": put(ck=lambda: sa.CheckConstraint("age > 0", name="age"))}),
    Change(
        "add a foreign key",
        (FIRST, "validate fk_users_organisation_id_organisations"),
        after={"users": put(fk=references)},
    ),
    Change("drop a foreign key", (FIRST,), before={"users": put(fk=references)}),
    Change(
        "change what a foreign key does on delete",
        (FIRST, "validate fk_users_organisation_id_organisations"),
        before={"users": put(fk=references)},
        after={"users": put(fk=lambda: references(ondelete="CASCADE", deferrable=True))},
    ),
    Change(
        "a foreign key to a column that becomes unique",
        (
            FIRST,
            "add constraint uq_organisations_name",
            "add fk_users_name_organisations",
            "validate fk_users_name_organisations",
        ),
        after={
            "organisations": put(uq=lambda: UniqueConstraint("name")),
            "users": put(fk=lambda: references("name", "organisations.name")),
        },
        rows="update users set name = 'o1'",
    ),
    Change("add a table", (FIRST,), after=tables(child)),
    Change(
        "drop a table",
        (FIRST, "drop table orders"),
        before=tables(child),
        rows="insert into orders (user_id, note) values (1, 'x')",
    ),
    Change(
        "drop a table others reference",
        (FIRST, "drop users organisation_id", "drop table organisations"),
        before={"users": put(fk=references)},
        after={"users": take("organisation_id"), "without": ("organisations",)},
        naive=False,
    ),
    Change(
        "rename a table",
        (FIRST, "drop fk_orders_user_id_users", "drop table orders"),
        before=tables(child),
        after=tables(lambda m: Table("purchases", m, Column("id", sa.Integer, primary_key=True), Column("note", Text))),
    ),
    Change(
        "rename a column",
        (FIRST, "drop users name"),
        after={"users": lambda items: [take("name", "ix_name")(items), items.update(nick=Column("nick", Text))]},
    ),
    Change("add an enum's table", (FIRST,), after=tables(label("good", "so 'so'"))),
    Change("drop an enum's table", (FIRST, "drop type Mood of day"), before=tables(label("good", "bad")), naive=False),
    Change(
        "add a column of a new enum",
        (FIRST,),
        after=column("mood", sa.Enum("good", "bad", name="mood"), server_default="good"),
        naive=False,
    ),
    Change(
        "add labels to an enum",
        (FIRST,),
        before=tables(label("good", "bad", default="good")),
        after=tables(label("best", "good", "so 'so'", "bad", "worst", default="good")),
        rows="insert into moods (id, mood, moods) values (1, 'bad', '{good,bad}')",
        naive=False,
    ),
    Change(
        "add a label and make it the default",
        (FIRST, "change moods.mood"),
        before=tables(label("good", "bad", default="good")),
        after=tables(label("good", "bad", "new", default="new")),
        naive=False,
    ),
    Change("add a schema and a table", (FIRST,), after=tables(in_schema())),
    Change(
        "index and constraints in another schema",
        (
            "change",
            "build unique index uq_Line Items_select",
            "add constraint uq_Line Items_select",
            "add ck_Line Items_ok",
            "validate ck_Line Items_ok",
            "add fk_Line Items_id_users",
            "validate fk_Line Items_id_users",
            "refuse null in Order.Line Items.select",
            "validate Order.Line Items.select not null",
            "set Order.Line Items.select not null",
        ),
        before=tables(in_schema()),
        after=tables(
            in_schema(
                lambda: Index(None, "id", "select"),
                lambda: UniqueConstraint("select"),
                lambda: sa.CheckConstraint("\"select\" <> ''", name="ok"),
                lambda: sa.ForeignKeyConstraint(["id"], ["users.id"]),
                nullable=False,
            )
        ),
        rows="""insert into "Order"."Line Items" values (1, 'x')""",
    ),
    Change(
        "names with spaces, colons and percent signs",
        (),
        before=tables(odd()),
        after=tables(
            odd(
                lambda: Index("IX :a %s", "From %(x)s", LONG),
                lambda: UniqueConstraint("user", name="UQ :u %(y)s"),
                lambda: sa.CheckConstraint('"user" % 2 >= 0', name=sa.schema.conv("CK :c %s")),
                lambda: Column("New :c", Text, server_default="50%:x"),
            )
        ),
        naive=False,
    ),
    Change(
        "names of 63 bytes",
        (),
        before=tables(odd()),
        after=tables(
            odd(
                lambda: Index("i" * 63, LONG),
                lambda: UniqueConstraint(LONG, name="é" * 31),
                lambda: sa.CheckConstraint(f"{LONG} > 0", name=sa.schema.conv("c" * 63)),
                lambda: sa.ForeignKeyConstraint([LONG], ["users.id"], name="f" * 63),
            )
        ),
    ),
    Change(
        "change what a check says",
        (FIRST, "validate ck_users_age"),
        before={"users": put(ck=lambda: sa.CheckConstraint("age >= 0 and name <> '%'", name="age"))},
        after={"users": put(ck=lambda: sa.CheckConstraint("age >= 1 and name <> '%%'", name="age"))},
        naive=False,
    ),
    Change(
        "change the predicate of an index",
        (FIRST, "drop old ix_users_name", "rename ix_users_name"),
        before={"users": put(ix_name=lambda: Index("ix_users_name", "name", postgresql_where=sa.text("age > 0")))},
        after={"users": put(ix_name=lambda: Index("ix_users_name", "name", postgresql_where=sa.text("age > 9")))},
        naive=False,
    ),
    Change(
        "take the predicate of an index away",
        (FIRST, "drop old ix_users_name", "rename ix_users_name"),
        before={"users": put(ix_name=lambda: Index("ix_users_name", "name", postgresql_where=sa.text("age > 0")))},
        naive=False,
    ),
    Change(
        "many at once",
        (),
        before={"users": put(fk=references), **tables(child)},
        after={
            "users": lambda items: [
                take("code", "uq_email")(items),
                items.update(
                    phone=Column("phone", Text, index=True),
                    name=Column("name", Text, nullable=False),
                    ix_name=Index("ix_users_name", "name", "age"),
                    ck=sa.CheckConstraint("age > 0", name="age"),
                    fk=references(ondelete="CASCADE"),
                    age=Column("age", sa.BigInteger().with_variant(sa.Integer, "postgresql"), nullable=False),
                ),
            ],
            "organisations": put(uq=lambda: UniqueConstraint("name"), size=lambda: Column("size", sa.Integer)),
            **tables(
                lambda m: Table(
                    "tags",
                    m,
                    Column("id", sa.Integer, primary_key=True),
                    Column("user_id", sa.ForeignKey("users.id"), index=True),
                )
            ),
        },
    ),
]
