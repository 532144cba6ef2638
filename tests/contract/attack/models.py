"""The release that is attacked: 20 tables, with all that models may have."""

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Mapped, mapped_column, relationship


class Base(orm.DeclarativeBase):
    pass


class Status(enum.Enum):
    active = "active"
    blocked = "blocked"


invoice_no = sa.Sequence("invoice_no", metadata=Base.metadata)
ticket_seq = sa.Sequence("ticket_seq")


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(200))
    name: Mapped[str] = mapped_column(sa.String(50))
    nickname: Mapped[str | None] = mapped_column(sa.Text)
    status: Mapped[Status] = mapped_column(sa.Enum(Status, name="account_status"), server_default="active")
    plan: Mapped[str] = mapped_column(sa.Enum("free", "paid", native_enum=False, length=20), server_default="free")
    balance: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2), server_default="0")
    tags: Mapped[list[str]] = mapped_column(pg.ARRAY(sa.Text), server_default="{}")
    settings: Mapped[dict[str, Any]] = mapped_column(pg.JSONB, server_default="{}")
    raw: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    born: Mapped[dt.date | None] = mapped_column(sa.Date)
    slug: Mapped[str] = mapped_column(sa.Text, server_default=sa.text("make_slug()"))
    is_active: Mapped[bool | None] = mapped_column(sa.Boolean, server_default=sa.true())
    created_at: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    updated_at: Mapped[dt.datetime | None] = mapped_column(sa.DateTime, server_onupdate=sa.FetchedValue())
    label: Mapped[str] = mapped_column(sa.Text, sa.Computed("name || ' <' || email || '>'", persisted=True))
    code: Mapped[str] = mapped_column(sa.String(12), server_default=sa.FetchedValue())
    handle: Mapped[str | None] = mapped_column(pg.CITEXT)
    version: Mapped[int] = mapped_column(sa.Integer)
    orders: Mapped[list["Order"]] = relationship(
        back_populates="account", passive_deletes=True, order_by="Order.position"
    )
    __mapper_args__ = {"version_id_col": version}
    __table_args__ = (sa.UniqueConstraint("email", name="uq_accounts_email"),)


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(sa.Text, primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text, unique=True)


order_labels = sa.Table(
    "order_labels",
    Base.metadata,
    sa.Column("order_id", sa.ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("label_id", sa.ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True),
)


class Label(Base):
    __tablename__ = "labels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.Text)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.BigInteger, sa.ForeignKey("accounts.id", ondelete="CASCADE"))
    country_code: Mapped[str | None] = mapped_column(sa.ForeignKey("countries.code"))
    amount: Mapped[int]
    placed_at: Mapped[dt.datetime] = mapped_column(sa.DateTime, server_default=sa.func.now())
    ref: Mapped[uuid.UUID] = mapped_column(server_default=sa.text("gen_random_uuid()"))
    position: Mapped[int] = mapped_column(default=0)
    weight: Mapped[float | None] = mapped_column(sa.REAL)
    account: Mapped[Account] = relationship(back_populates="orders")
    country: Mapped[Country | None] = relationship()
    items: Mapped[list["Item"]] = relationship(passive_deletes=True, cascade="all, delete-orphan")
    labels: Mapped[list[Label]] = relationship(secondary=order_labels, passive_deletes=True)
    __table_args__ = (
        sa.UniqueConstraint("account_id", "position", name="uq_orders_position", deferrable=True, initially="DEFERRED"),
    )


class Item(Base):
    __tablename__ = "items"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id", ondelete="CASCADE"))
    qty: Mapped[int] = mapped_column(sa.SmallInteger)
    note: Mapped[str | None] = mapped_column(sa.String(20))


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    title: Mapped[str] = mapped_column(sa.Text)
    body: Mapped[str | None] = mapped_column(sa.Text)
    kind: Mapped[str] = mapped_column(pg.DOMAIN("doc_kind", sa.Text))
    __table_args__ = {"schema": "library"}


class Event(Base):
    __tablename__ = "events"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    at: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), primary_key=True)
    payload: Mapped[dict[str, Any]] = mapped_column(pg.JSONB)
    __table_args__ = {"postgresql_partition_by": "RANGE (at)"}


class Reading(Base):
    __tablename__ = "readings"
    sensor: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(sa.Double)
    __table_args__ = {"postgresql_partition_by": "RANGE (day)"}


class Counter(Base):
    __tablename__ = "counters"
    key: Mapped[str] = mapped_column(sa.Text, primary_key=True)
    value: Mapped[int]


class Subscription(Base):
    __tablename__ = "subscriptions"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.BigInteger)
    active: Mapped[bool]
    __table_args__ = (
        sa.Index("uq_subscriptions_active", "account_id", unique=True, postgresql_where=sa.text("active")),
    )


class Booking(Base):
    __tablename__ = "bookings"
    id: Mapped[int] = mapped_column(primary_key=True)
    during: Mapped[Any] = mapped_column(pg.INT4RANGE)
    __table_args__ = (pg.ExcludeConstraint(("during", "&&"), name="no_overlap"),)


class Person(Base):
    __tablename__ = "persons"
    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(sa.Text)
    __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "person"}


class Employee(Person):
    __tablename__ = "employees"
    id: Mapped[int] = mapped_column(sa.ForeignKey("persons.id", ondelete="CASCADE"), primary_key=True)
    salary: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "employee"}


class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    leader_id: Mapped[int] = mapped_column(
        sa.ForeignKey("members.id", name="fk_leader", use_alter=True, deferrable=True, initially="DEFERRED")
    )


class Member(Base):
    __tablename__ = "members"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    team_id: Mapped[int] = mapped_column(sa.ForeignKey("teams.id", deferrable=True, initially="DEFERRED"))


class Ticket(Base):
    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(ticket_seq, primary_key=True)
    title: Mapped[str] = mapped_column(sa.Text)


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(sa.Text)


summary = sa.Table(
    "account_summary",
    sa.MetaData(),  # a view that is only read, and not in the models
    sa.Column("account_id", sa.BigInteger, primary_key=True),
    sa.Column("email", sa.String(200)),
    sa.Column("orders", sa.BigInteger),
)
totals = sa.Table(
    "daily_totals",
    Base.metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("total", sa.BigInteger),
    info={"view": True},
)
