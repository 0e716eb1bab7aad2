#!/usr/bin/env python3
"""SQLAlchemy 2 with psycopg 3, Core and ORM."""

from tap import MIB, done, eq, ok, raises

from sqlalchemy import ARRAY, Text, bindparam, cast, create_engine, delete, event, exc, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased, load_only
from sqlalchemy.schema import CreateTable
from envcrypt_sqlalchemy import Sealed
from models_sqlalchemy import Base, Customer, Note

engine = create_engine("postgresql+psycopg://app@/")
statements = []
event.listen(engine, "before_cursor_execute", lambda conn, cur, sql, *rest: statements.append(sql))

# the tables the models describe are those of setup.sql
with engine.begin() as db:
    before = db.execute(text("SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
                             "WHERE relname IN ('customer', 'note') AND attnum > 0 ORDER BY 1, attnum")).all()
with create_engine("postgresql+psycopg://postgres@/", connect_args={"options": "-c search_path=mine,envcrypt"}).begin() as db:
    db.execute(text("CREATE SCHEMA mine"))
    Base.metadata.create_all(db)
    made = db.execute(text("SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
                           "WHERE relnamespace = 'mine'::regnamespace AND relkind = 'r' AND attnum > 0 ORDER BY 1, attnum")).all()
    eq(made, before, "create_all makes the tables of setup.sql")

with Session(engine) as s:
    ann = Customer(email="ann@example.org", phone="+44 1")
    s.add_all([ann, Customer(email="bob@example.org"), Customer(phone="")])
    s.commit()
    eq((ann.email, ann.phone), ("ann@example.org", "+44 1"), "create, and read again after the commit")
    got = s.scalars(select(Customer).where(Customer.email == "ann@example.org")).one()
    ok(got is ann, "look-up by e-mail")
    ok("search_terms" in statements[-1] and "= encrypt" not in statements[-1], "by its search terms")
    eq(s.scalars(select(Customer.phone).where(Customer.email == "bob@example.org")).all(), [None], "NULL")
    eq(len(s.scalars(select(Customer).where(Customer.email == None)).all()), 1, "== None")
    eq(sorted(s.scalars(select(Customer.email).where(Customer.email.in_(["ann@example.org", "bob@example.org", "nobody"])))),
       ["ann@example.org", "bob@example.org"], "in_")
    for where in (Customer.email != "bob@example.org", ~(Customer.email == "bob@example.org"), Customer.email.not_in(["bob@example.org", "eve"]),
                  ~Customer.email.in_(["bob@example.org", "eve"])):
        eq(s.scalars(select(Customer.email).where(where)).all(), ["ann@example.org"], "the others")
    eq(s.scalar(select(func.count()).where(Customer.email != None)), 2, "!= None")
    eq(s.execute(select(Customer.phone).where(Customer.email == bindparam("who", type_=Text)), {"who": "ann@example.org"}).scalar_one(), "+44 1", "bindparam")
    twin = aliased(Customer)
    eq(s.scalar(select(func.count()).select_from(Customer).join(twin, twin.email == Customer.email)), 2, "column to column")
    eq(s.scalars(select(Customer.phone).where(Customer.email.is_(None))).one(), "", "empty string")
    raises(exc.ProgrammingError, lambda: s.scalars(select(Customer).where(Customer.email.like("a%"))).all(), "LIKE is refused")
    s.rollback()
    ann.phone = MIB
    s.commit()
    eq(ann.phone, MIB, "update, 1 MiB")

    s.add(Customer(email="ann@example.org"))
    raises(exc.IntegrityError, s.flush, "IntegrityError").orig.sqlstate == "23505" or ok(False, "23505")
    s.rollback()

    note = Note.new("call back")
    s.add(note)
    s.commit()
    eq(note.body, "call back", "a bound value")
    other = Note.new("x")
    s.add(other)
    s.flush()
    s.execute(update(Note).where(Note.id == other.id).values(sealed=select(Note.sealed).where(Note.id == note.id).scalar_subquery()))
    s.expire_all()
    raises(exc.DataError, lambda: other.body, "opens in no other row")
    s.rollback()

    s.delete(got)
    s.commit()
    eq(s.scalars(select(Customer).where(Customer.email == "ann@example.org")).first(), None, "delete")

with engine.begin() as db:
    upsert = insert(Customer).values(email="eve@example.org", phone="1")
    upsert = upsert.on_conflict_do_update(index_elements=["email"], set_={"phone": upsert.excluded.phone})
    id = db.execute(upsert.returning(Customer.id)).scalar_one()
    eq(db.execute(upsert.returning(Customer.id, Customer.phone)).one(), (id, "1"), "upsert, RETURNING opens")
    upsert = insert(Customer).values(email="eve@example.org", phone="2")
    db.execute(upsert.on_conflict_do_update(index_elements=["email"], set_={"phone": upsert.excluded.phone}))
    eq(db.execute(select(Customer.phone).where(Customer.id == id)).scalar_one(), "2", "upsert updates")
    eq(db.execute(update(Customer).where(Customer.email == "eve@example.org").values(phone="3").returning(Customer.phone)).scalar_one(),
       "3", "UPDATE .. RETURNING")
    eq(db.execute(delete(Customer).where(Customer.email == "eve@example.org").returning(Customer.email)).scalar_one(),
       "eve@example.org", "DELETE .. RETURNING")
    db.execute(insert(Customer), [{"email": f"n{n}@example.org", "phone": str(n)} for n in range(500)])
    ok(all(db.execute(select(Customer.phone).where(Customer.email == f"n{n}@example.org")).scalar_one() == str(n) for n in range(20)),
       "a look-up 20 times")
    eq(db.execute(text("SELECT count(*) > 0 FROM pg_prepared_statements WHERE statement LIKE '%search_terms%'")).scalar_one(), True,
       "which the server prepared")
    terms = db.execute(select(cast(func.search_terms("n7@example.org", "lookup"), ARRAY(Text)))).scalar_one()
    ok(isinstance(terms, list) and terms[0].startswith("\\x"), "search_terms as an array")
    eq(db.execute(text("SELECT count(*) FROM customer WHERE email = ANY (CAST(:terms AS enc_bytea[]))"), {"terms": terms}).scalar_one(), 1, "sent back")
    sql = str(select(Customer.id).where(Customer.email == "x").compile(engine, compile_kwargs={"literal_binds": True}))
    plan = "\n".join(db.execute(text("EXPLAIN " + sql)).scalars())
    ok("Index" in plan or "Bitmap" in plan, "the look-up uses the index") or print("# " + plan)

# two roles
with Session(create_engine("postgresql+psycopg://web@/")) as s:
    s.add(Customer(email="web@example.org", phone="7"))
    s.commit()
    by_email = select(Customer).where(Customer.email == "web@example.org")
    eq(s.scalars(by_email.options(load_only(Customer.id))).one().id is not None, True, "web seals and looks up")
    s.rollback()
    raises(exc.ProgrammingError, lambda: s.execute(select(Customer.phone)).all(), "web opens nothing")
with Session(create_engine("postgresql+psycopg://office@/")) as s:
    eq(s.scalars(by_email).one().phone, "7", "office opens")
done()
