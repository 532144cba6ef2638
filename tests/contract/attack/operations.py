"""What the release that is attacked does: each takes a Session and a fresh number; a failure raises."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql as pg

from tests.contract.attack import models as m

A, O, I = m.Account, m.Order, m.Item
OPS = {}


def op(f):
    OPS[f.__name__] = f
    return f


def eq(found, expected, what=""):
    assert type(found) is type(expected) and found == expected, (
        f"WRONG {what}: {found!r:.80}, expected {expected!r:.80}"
    )


def account(s, n, **more):
    a = A(email=f"a{n}@x.org", name=f"Name {n}", **more)
    s.add(a)
    s.flush()
    return a


@op
def insert_defaults(s, n):
    a = account(s, n)
    s.refresh(a)
    eq(a.status, m.Status.active, "status")
    eq(a.plan, "free", "plan")
    eq(a.balance, Decimal(0), "balance")
    eq(a.tags, [], "tags")
    eq(a.settings, {}, "settings")
    eq(a.is_active, True, "is_active")
    eq(a.label, f"Name {n} <a{n}@x.org>", "label")
    assert a.slug[0] == "s", f"WRONG slug {a.slug}"
    eq(a.code, f"C{a.id}", "code")
    now = dt.datetime.now(dt.UTC)
    assert abs(now - a.created_at) < dt.timedelta(minutes=5), f"WRONG created_at {a.created_at}"
    eq(a.version, 1, "version")


@op
def insert_all_columns(s, n):
    values = dict(
        nickname="nick",
        status=m.Status.blocked,
        plan="paid",
        balance=Decimal("99999999.99"),
        tags=["a", "b"],
        settings={"k": [1, None]},
        raw={"z": 1, "a": [2]},
        born=dt.date(1999, 12, 31),
        is_active=False,
        slug=f"slug{n}",
        handle=f"H{n}",
    )
    a = account(s, n, **values)
    s.expire(a)
    for k, v in values.items():
        eq(getattr(a, k), v, k)


@op
def bulk_insert(s, n):
    rows = [
        {"email": f"b{n}-{i}@x.org", "name": "Bulk", "status": m.Status.active, "version": 1, "balance": Decimal(i)}
        for i in range(30)
    ]
    ids = s.scalars(sa.insert(A).returning(A.id, sort_by_parameter_order=True), rows).all()
    eq(len(set(ids)), 30, "ids")
    objs = [A(email=f"c{n}-{i}@x.org", name="Bulk2", raw={"i": i}, tags=["t"]) for i in range(3)]
    s.add_all(objs)
    s.flush()


@op
def update_each_column(s, n):
    a = account(s, n)
    for k, v in dict(
        nickname="new",
        name="N" * 50,
        status=m.Status.blocked,
        plan="paid",
        balance=Decimal("1.25"),
        tags=["x"],
        settings={"a": "b"},
        raw={"q": 1},
        born=dt.date(2000, 1, 1),
        is_active=False,
        slug="other",
        handle="me",
        email=f"u{n}@x.org",
    ).items():
        setattr(a, k, v)
        s.flush()
        s.expire(a)
        eq(getattr(a, k), v, k)
    assert a.updated_at is not None, "WRONG updated_at None"
    a.nickname = None
    s.flush()


@op
def delete_cascades(s, n):
    a = account(s, n)
    o = O(account_id=a.id, amount=1, items=[I(qty=1), I(qty=2)])
    s.add(o)
    s.flush()
    oid, aid = o.id, a.id
    s.commit()
    done = s.execute(sa.delete(A).where(A.id == aid))
    eq(done.rowcount, 1, "deleted")
    s.commit()
    eq(s.scalar(sa.select(sa.func.count()).select_from(O).where(O.id == oid)), 0, "orders left")
    eq(s.scalar(sa.select(sa.func.count()).select_from(I).where(I.order_id == oid)), 0, "items left")


@op
def delete_orm(s, n):
    a = account(s, n)
    s.add(O(account=a, amount=1))
    s.commit()
    s.delete(a)
    s.commit()
    assert s.get(A, a.id if False else -1) is None


@op
def order_insert_and_load(s, n):
    a = account(s, n)
    s.add_all(
        [
            O(account=a, amount=i, position=i, country_code="DE", weight=0.5, items=[I(qty=i, note="x" * 20)])
            for i in range(3)
        ]
    )
    s.commit()
    s.expire_all()
    got = s.scalars(
        sa.select(A)
        .where(A.id == a.id)
        .options(orm.selectinload(A.orders).selectinload(O.items), orm.selectinload(A.orders).joinedload(O.country))
    ).one()
    eq([o.amount for o in got.orders], [0, 1, 2], "orders")
    eq(got.orders[0].country.name, "Germany", "country")
    eq(got.orders[2].items[0].qty, 2, "qty")
    eq(got.orders[1].items[0].note, "x" * 20, "note")
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    assert abs(now - got.orders[0].placed_at) < dt.timedelta(minutes=5), f"WRONG placed_at {got.orders[0].placed_at}"
    assert isinstance(got.orders[0].ref, uuid.UUID)


@op
def join_order_by(s, n):
    a = account(s, n)
    b = A(email=f"z{n}@x.org", name="Zed")
    c = A(email=f"y{n}@x.org", name="alice")
    s.add_all([b, c])
    s.flush()
    s.add_all([O(account_id=x.id, amount=5) for x in (a, b, c)])
    s.flush()
    rows = s.execute(sa.select(A.name, O.amount).join(O).where(A.id.in_([b.id, c.id])).order_by(A.name, O.id)).all()
    eq([r.name for r in rows], ["Zed", "alice"], "order")  # C collation


@op
def group_by_key(s, n):
    a = account(s, n)
    s.add_all([O(account_id=a.id, amount=5, position=i) for i in (1, 2)])
    s.flush()
    rows = s.execute(sa.select(A, sa.func.count(O.id)).join(O, isouter=True).where(A.id == a.id).group_by(A.id)).all()
    eq(rows[0][1], 2, "count")


@op
def sum_as_json(s, n):
    a = account(s, n)
    s.add_all([O(account_id=a.id, amount=5, position=i) for i in (1, 2)])
    s.flush()
    total = s.scalar(sa.select(sa.func.sum(O.amount)).where(O.account_id == a.id))
    eq(json.dumps({"t": total}), '{"t": 10}', "sum")


@op
def upsert_columns(s, n):
    for value in (1, 2):
        st = pg.insert(m.Counter).values(key=f"k{n}", value=value)
        s.execute(st.on_conflict_do_update(index_elements=["key"], set_={"value": m.Counter.value + st.excluded.value}))
    eq(s.scalar(sa.select(m.Counter.value).where(m.Counter.key == f"k{n}")), 3, "value")


@op
def upsert_email(s, n):
    for name in ("One", "Two"):
        st = pg.insert(A).values(email=f"a{n}@x.org", name=name, version=1)
        r = s.execute(
            st.on_conflict_do_update(index_elements=[A.email], set_={"name": st.excluded.name}).returning(A.id, A.name)
        ).all()
    eq(r[0].name, "Two", "name")


@op
def upsert_constraint_name(s, n):
    for name in ("One", "Two"):
        st = pg.insert(A).values(email=f"a{n}@x.org", name=name, version=1)
        s.execute(st.on_conflict_do_nothing(constraint="uq_accounts_email"))
    eq(s.scalar(sa.select(A.name).where(A.email == f"a{n}@x.org")), "One", "name")


@op
def upsert_partial(s, n):
    for active in (True, True):
        st = pg.insert(m.Subscription).values(account_id=n, active=active)
        s.execute(
            st.on_conflict_do_update(
                index_elements=["account_id"], index_where=m.Subscription.active, set_={"active": True}
            )
        )


@op
def booking_no_overlap(s, n):
    for _ in range(2):
        s.execute(
            pg.insert(m.Booking)
            .values(during=sa.text(f"int4range({n}, {n + 1})"))
            .on_conflict_do_nothing(constraint="no_overlap")
        )
    eq(s.scalar(sa.select(sa.func.count()).select_from(m.Booking).where(sa.text(f"during @> {n}"))), 1, "bookings")


@op
def unique_refused(s, n):
    account(s, n)
    s.commit()
    try:
        account(s, n)
        s.commit()
    except sa.exc.IntegrityError:
        s.rollback()
    else:
        raise AssertionError("WRONG two accounts of one e-mail")


@op
def emails_by_case_differ(s, n):
    s.add(A(email=f"a{n}@x.org", name="a"))
    s.add(A(email=f"A{n}@x.org", name="b"))
    s.flush()


@op
def email_like(s, n):
    account(s, n)
    eq(len(s.scalars(sa.select(A).where(A.email.like(f"a{n}@%"))).all()), 1, "like")
    eq(len(s.scalars(sa.select(A).where(A.email.ilike(f"A{n}@%"))).all()), 1, "ilike")
    eq(len(s.scalars(sa.select(A).where(A.name.startswith(f"Name {n}"))).all()), 1, "startswith")


@op
def handle_citext(s, n):
    account(s, n, handle=f"Han{n}")
    s.flush()
    eq(len(s.scalars(sa.select(A).where(A.handle == f"hAN{n}")).all()), 1, "citext")


@op
def similarity(s, n):
    account(s, n)
    s.execute(sa.select(A.id).order_by(sa.func.similarity(A.name, "Name")).limit(1)).all()


@op
def read_all(s, n):
    for model in (
        A,
        O,
        I,
        m.Document,
        m.Event,
        m.Reading,
        m.Counter,
        m.Person,
        m.Team,
        m.Member,
        m.Ticket,
        m.Note,
        m.Country,
        m.Label,
        m.Booking,
    ):
        s.scalars(sa.select(model)).unique().all()


@op
def enum_filter(s, n):
    a = account(s, n, status=m.Status.blocked)
    q = sa.select(A.id).where(
        A.status == m.Status.blocked, A.status.in_([m.Status.blocked]), A.plan == "free", A.id == a.id
    )
    eq(s.scalars(q).all(), [a.id], "enum filter")
    s.execute(
        sa.update(A)
        .where(A.id == a.id)
        .values(
            status=sa.case(
                (A.balance > 5, sa.cast(sa.literal(m.Status.active, A.status.type), A.status.type)), else_=A.status
            )
        )
    )
    eq(
        s.scalar(
            sa.select(sa.cast(sa.literal(m.Status.active, A.status.type), A.status.type) == A.status).where(
                A.id == a.id
            )
        ),
        False,
        "cast",
    )


@op
def enum_order(s, n):
    a = account(s, n, status=m.Status.blocked)
    b = account(s, n + 500000, status=m.Status.active)
    eq(s.scalars(sa.select(A.id).where(A.id.in_([a.id, b.id])).order_by(A.status)).all(), [b.id, a.id], "enum order")


@op
def json_queries(s, n):
    a = account(s, n, settings={"age": "n/a", "k": {"v": 1}}, raw={"b": 2, "a": 1})
    eq(s.scalar(sa.select(A.settings["k"]["v"].astext).where(A.id == a.id)), "1", "astext")
    eq(s.scalar(sa.select(A.id).where(A.settings.contains({"age": "n/a"}), A.id == a.id)), a.id, "contains")
    eq(s.scalar(sa.select(A.raw["b"].as_integer()).where(A.id == a.id)), 2, "raw")
    eq(s.scalar(sa.select(sa.func.json_typeof(A.raw)).where(A.id == a.id)), "object", "json_typeof")


@op
def array_queries(s, n):
    a = account(s, n, tags=["x", "y"])
    eq(
        s.scalar(sa.select(A.id).where(A.tags.contains(["x"]), sa.literal("y") == sa.any_(A.tags), A.id == a.id)),
        a.id,
        "tags",
    )
    eq(s.scalar(sa.select(sa.func.array_length(A.tags, 1)).where(A.id == a.id)), 2, "length")


@op
def lock_for_update(s, n):
    a = account(s, n)
    s.commit()
    s.scalars(sa.select(A).where(A.id == a.id).with_for_update()).one()
    s.scalars(sa.select(A).where(A.id == a.id).with_for_update(skip_locked=True, of=A)).one()
    s.scalars(sa.select(m.Counter).where(m.Counter.key == "seed").with_for_update(read=True)).all()


@op
def sequence_next(s, n):
    first, second = s.scalar(m.invoice_no), s.scalar(m.invoice_no)
    one = s.scalar(sa.select(m.invoice_no.next_value()))
    assert one == second + 1 if isinstance(second, int) else True, f"WRONG sequence {first} {second} {one}"
    assert one > 2, f"WRONG sequence starts again {one}"


@op
def ticket(s, n):
    t = m.Ticket(title="t")
    s.add(t)
    s.flush()
    t2 = m.Ticket(title="t")
    s.add(t2)
    s.flush()
    assert t2.id > t.id, "WRONG order of ids"


@op
def document(s, n):
    d = m.Document(title=f"doc {n}", body="b" * 5000 + uuid.uuid4().hex * 200, kind="letter")
    s.add(d)
    s.flush()
    s.expire(d)
    eq(d.kind, "letter", "kind")
    d.title = "x"
    s.flush()
    s.delete(d)
    s.flush()
    s.add_all([m.Document(title="a", kind="a long kind"), m.Document(title="b", kind="k")])
    s.flush()


@op
def document_random_body(s, n):
    import random

    d = m.Document(
        title=f"doc {n}", body="".join(chr(random.randint(0x100, 0x2000)) for _ in range(6000)), kind="letter"
    )
    s.add(d)
    s.flush()


@op
def event(s, n):
    for at in (dt.datetime(2024, 5, 5, tzinfo=dt.UTC), dt.datetime(2031, 5, 5, tzinfo=dt.UTC)):
        e = m.Event(at=at, payload={"n": n})
        s.add(e)
        s.flush()
        s.expire(e)
        eq(e.payload, {"n": n}, "payload")
        e.payload = {"n": 0}
        s.flush()
        s.delete(e)
        s.flush()


@op
def event_kept(s, n):
    e = m.Event(at=dt.datetime(2024, 6, 6, tzinfo=dt.UTC), payload={"n": n})
    s.add(e)
    s.flush()
    st = pg.insert(m.Event).values(id=e.id, at=e.at, payload={})
    s.execute(st.on_conflict_do_nothing(index_elements=["id", "at"]))


@op
def reading(s, n):
    for day in (dt.date(2024, 3, 3), dt.date(2025, 3, 3)):
        st = pg.insert(m.Reading).values(sensor=n, day=day, value=1.5)
        s.execute(st.on_conflict_do_update(index_elements=["sensor", "day"], set_={"value": 2.5}))
    eq(s.scalar(sa.select(sa.func.count()).select_from(m.Reading).where(m.Reading.sensor == n)), 2, "readings")


@op
def inheritance(s, n):
    e = m.Employee(salary=10)
    s.add(e)
    s.flush()
    s.expire_all()
    eq(type(s.get(m.Person, e.id)).__name__, "Employee", "class")


@op
def circular_deferred(s, n):
    s.execute(sa.insert(m.Team).values(id=n, leader_id=n))
    s.execute(sa.insert(m.Member).values(id=n, team_id=n))
    s.commit()


@op
def swap_positions(s, n):
    a = account(s, n)
    one, two = O(account_id=a.id, amount=1, position=1), O(account_id=a.id, amount=2, position=2)
    s.add_all([one, two])
    s.commit()
    s.execute(sa.update(O).where(O.id == one.id).values(position=2))
    s.execute(sa.update(O).where(O.id == two.id).values(position=1))
    s.commit()


@op
def stale_version(s, n):
    a = account(s, n)
    s.commit()
    a.nickname = "a"
    s.commit()
    eq(a.version, 2, "version")


@op
def many_to_many(s, n):
    a = account(s, n)
    o = O(account=a, amount=1, labels=[m.Label(name="l")])
    s.add(o)
    s.commit()
    s.expire_all()
    eq(len(s.get(O, o.id).labels), 1, "labels")
    o.labels.clear()
    s.commit()


@op
def countries(s, n):
    eq(s.get(m.Country, "DE").name, "Germany", "country")
    s.merge(m.Country(code=f"X{n}", name=f"X{n}"))
    s.commit()


@op
def new_country_and_order(s, n):
    s.add(m.Country(code=f"N{n}", name=f"N{n}"))
    a = account(s, n)
    s.commit()
    s.add(O(account_id=a.id, amount=1, country_code=f"N{n}"))
    s.commit()


@op
def delete_ticket(s, n):
    t = m.Ticket(title="t")
    s.add(t)
    s.commit()
    key = t.id
    eq(s.execute(sa.delete(m.Ticket).where(m.Ticket.id == key)).rowcount, 1, "deleted")
    s.commit()


@op
def function_calls(s, n):
    a = account(s, n)
    o = O(account_id=a.id, amount=50)
    s.add(o)
    s.flush()
    eq(s.scalar(sa.select(sa.func.account_total(A.id)).where(A.id == a.id)), Decimal(50), "total")
    eq(s.scalar(sa.select(sa.func.order_fee(O.amount)).where(O.id == o.id)), 5, "fee")


@op
def summary_view(s, n):
    a = account(s, n)
    s.add(O(account_id=a.id, amount=1))
    s.flush()
    rows = s.execute(sa.select(m.summary).where(m.summary.c.account_id == a.id)).all()
    eq([tuple(r) for r in rows], [(a.id, f"a{n}@x.org", 1)], "summary")


@op
def totals_view(s, n):
    eq(s.execute(sa.select(m.totals.c.total)).scalar(), 10, "total")


@op
def note(s, n):
    x = m.Note(text="t")
    s.add(x)
    s.flush()
    s.expire(x)
    eq(x.text, "t", "text")
    x.text = "u"
    s.flush()
    eq(s.scalar(sa.select(sa.func.count()).select_from(m.Note).where(m.Note.id == x.id)), 1, "rows")


@op
def old_rows_there(s, n):
    eq(s.scalar(sa.select(A.nickname).where(A.email == "seed@x.org")), "seednick", "seed row")
    assert (
        s.scalar(
            sa.select(sa.func.count()).select_from(m.Event).where(m.Event.at < dt.datetime(2024, 3, 1, tzinfo=dt.UTC))
        )
        >= 1
    ), "WRONG events gone"
    eq(s.scalar(sa.select(m.Counter.value).where(m.Counter.key == "seed")), 1, "seed counter")
    assert s.scalar(sa.select(sa.func.count()).select_from(m.Reading).where(m.Reading.sensor == 7)) == 1, (
        "WRONG reading gone"
    )
    w = s.scalar(sa.select(O.weight).where(O.position == -7))
    eq(w, 0.1, "weight")


@op
def slow_query(s, n):
    s.execute(sa.select(sa.func.pg_sleep(0.3)))


@op
def temporary_table(s, n):
    s.execute(sa.text(f"CREATE TEMP TABLE t{n} (id bigint) ON COMMIT DROP"))
    s.execute(sa.text(f"INSERT INTO t{n} SELECT id FROM accounts LIMIT 3"))


@op
def date_text(s, n):
    eq(s.scalar(sa.text("SELECT '03/04/2024'::date")), dt.date(2024, 3, 4), "date")
    eq(s.scalar(sa.text("SELECT 'a\\b'")), "a\\b", "backslash")


@op
def raw_text_join(s, n):
    a = account(s, n)
    s.add(O(account_id=a.id, amount=1, position=3))
    s.flush()
    eq(len(s.execute(sa.select(A.id).join(O).where(sa.text("position > 2"), A.id == a.id)).all()), 1, "raw")


@op
def insert_from_select(s, n):
    s.execute(sa.insert(m.Counter).from_select(["key", "value"], sa.select(sa.literal(f"f{n}"), sa.literal(1))))


@op
def update_returning(s, n):
    a = account(s, n)
    s.flush()
    eq(
        s.execute(sa.update(A).where(A.id == a.id).values(balance=A.balance + 1).returning(A.balance)).scalar(),
        Decimal("1.00"),
        "returning",
    )
    o = O(account_id=a.id, amount=5)
    s.add(o)
    s.flush()
    eq(s.execute(sa.delete(O).where(O.id == o.id).returning(O.id)).scalar(), o.id, "returning")


@op
def zero_quantity(s, n):
    a = account(s, n)
    o = O(account_id=a.id, amount=0, items=[I(qty=0, note=None)])
    s.add(o)
    s.flush()


@op
def float_round_trip(s, n):
    a = account(s, n)
    o = O(account_id=a.id, amount=0, weight=0.25)
    s.add(o)
    s.flush()
    s.expire(o)
    eq(o.weight, 0.25, "weight")


def seed(s):
    a = A(email="seed@x.org", name="Seed", nickname="seednick")
    s.add(a)
    s.flush()
    s.add(O(account_id=a.id, amount=1, position=-7, weight=0.1))
    s.add(m.Event(at=dt.datetime(2024, 2, 2, tzinfo=dt.UTC), payload={}))
    s.add(m.Reading(sensor=7, day=dt.date(2024, 1, 1), value=1.0))
    s.commit()


def run(engine, number, only=None, asynchronous=False):
    """Run all; return {op: None or error text}."""
    out = {}
    for name, f in OPS.items():
        if only and name not in only:
            continue
        number[0] += 1
        try:
            with orm.Session(engine) as s:
                f(s, number[0])
                s.commit()
            out[name] = None
        except Exception as error:  # noqa: BLE001
            text = str(getattr(error, "orig", None) or error).strip().splitlines()
            kind = type(getattr(error, "orig", None) or error).__name__
            out[name] = f"{kind}: {text[0] if text else ''}"[:220]
    return out
