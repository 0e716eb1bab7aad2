#!/usr/bin/env python3
"""psycopg 3, in text and in binary; the view; the two roles."""

import uuid

from tap import MIB, done, eq, ok, raises

import psycopg
from psycopg import errors
from with_psycopg import ADD_NOTE, FIND, READ_NOTE, UPSERT, register_enc_bytea

INSERT = "INSERT INTO customer (email, phone) VALUES (encrypt(lower(%s), 'lookup'), encrypt(%s, 'pii')) RETURNING id, decrypt(email), phone"


def crud(binary):
    how = "binary" if binary else "text"
    conn = psycopg.connect(user="app", autocommit=True)
    cur = conn.cursor(binary=binary)

    def one(sql, *args):
        return cur.execute(sql, args, binary=binary).fetchone()

    def find(email):
        return cur.execute(FIND, (email,), binary=binary).fetchone()

    cur.execute("DELETE FROM customer")
    id, email, sealed = one(INSERT, "Ann@Example.org", "+44 1")
    eq(email, "ann@example.org", f"{how}: INSERT RETURNING opens")
    ok(isinstance(sealed, bytes if binary else str), f"{how}: a sealed value comes as {type(sealed).__name__}")
    eq(find("ANN@example.org"), (id, "ann@example.org", "+44 1"), f"{how}: look-up by e-mail")
    eq(find("bob@example.org"), None, f"{how}: look-up of what is not there")
    eq(one(UPSERT, "ann@example.org", "+44 2"), (id, "+44 2"), f"{how}: upsert updates")
    ok(one(UPSERT, "bob@example.org", None)[0] != id, f"{how}: upsert inserts")
    eq(find("bob@example.org")[2], None, f"{how}: NULL")
    e = raises(errors.UniqueViolation, lambda: one(INSERT, "ANN@EXAMPLE.ORG", "x"), f"{how}: UniqueViolation")
    ok("ann@" not in str(e).lower(), f"{how}: whose message does not show the e-mail")

    for value, name in (("", "empty string"), (MIB, "1 MiB"), ("žluťoučký \U0001f40e", "beyond ASCII")):
        got = one("UPDATE customer SET phone = encrypt(%s, 'pii') WHERE id = %s RETURNING decrypt(phone)", value, id)
        eq(got[0], value, f"{how}: {name}, RETURNING")
        eq(find("ann@example.org")[2], value, f"{how}: {name}, read")

    # prepared
    got = {cur.execute(FIND, (f"{who}@example.org",), prepare=True, binary=binary).fetchone()[1] for who in ["ann", "bob"] * 6}
    eq(got, {"ann@example.org", "bob@example.org"}, f"{how}: a prepared statement 12 times")
    ok(one("SELECT max(generic_plans + custom_plans) FROM pg_prepared_statements WHERE statement LIKE '%%search_terms%%'")[0] >= 12,
       f"{how}: it was the server's")
    for n in range(12):
        cur.execute(UPSERT, (f"n{n}@example.org", str(n)), prepare=True, binary=binary)
    eq(find("n11@example.org")[2], "11", f"{how}: a prepared upsert 12 times")

    # arrays
    terms = one("SELECT search_terms('ann@example.org', 'lookup')")[0]
    ok(isinstance(terms, bytes if binary else str), f"{how}: without register_enc_bytea an array comes as {type(terms).__name__}")
    register_enc_bytea(conn)
    cur = conn.cursor(binary=binary)
    terms = one("SELECT search_terms('ann@example.org', 'lookup')")[0]
    ok(isinstance(terms, list) and isinstance(terms[0], bytes), f"{how}: with it as a list of bytes")
    eq(one("SELECT id FROM customer WHERE email = ANY (%s::bytea[]::enc_bytea[])", terms), (id,), f"{how}: sent back as an array")
    eq(one("SELECT decrypt(%s::bytea::enc_bytea)", terms[0]), ("ann@example.org",), f"{how}: sent back as a value")
    eq(one("SELECT array_agg(email ORDER BY email) FROM customer WHERE id = %s", id)[0], terms, f"{how}: enc_bytea[]")
    eq(one("SELECT ARRAY[NULL]::enc_bytea[]"), ([None],), f"{how}: enc_bytea[] with a NULL")
    raises(errors.InvalidBinaryRepresentation, lambda: one("SELECT %s::bytea::enc_bytea", b"plain"), f"{how}: bytes that are not sealed are refused")
    raises(errors.InvalidBinaryRepresentation, lambda: one("INSERT INTO customer (email) VALUES (%s) RETURNING id", "plain@example.org"),
           f"{how}: plain text is refused")

    # bound
    note = uuid.uuid4()
    cur.execute(ADD_NOTE, {"id": note, "body": "call back"}, binary=binary)
    eq(one(READ_NOTE, note), ("call back",), f"{how}: a bound value")
    raises(errors.DataException, lambda: cur.execute(
        "WITH moved AS (SELECT body FROM note WHERE id = %s) SELECT decrypt(body, enc_context('note.body', %s::uuid)) FROM moved",
        (note, uuid.uuid4())), f"{how}: and in another row")

    with conn.pipeline():
        cur.executemany("INSERT INTO customer (email) VALUES (encrypt(%s, 'lookup'))", [(f"many{n}@example.org",) for n in range(20)])
    eq(find("many19@example.org")[1], "many19@example.org", f"{how}: executemany in a pipeline")
    with cur.copy("COPY (SELECT decrypt(email) FROM customer WHERE id = %d) TO STDOUT" % id) as copy:
        eq(b"".join(copy), b"ann@example.org\n", f"{how}: COPY out")
    eq(cur.execute("DELETE FROM customer WHERE email = ANY (search_terms(%s, 'lookup'))", ("ann@example.org",)).rowcount, 1, f"{how}: delete")
    eq(find("ann@example.org"), None, f"{how}: and gone")
    conn.close()


def indexed():
    with psycopg.connect(user="app") as conn:
        conn.execute("INSERT INTO customer (email) SELECT encrypt(n || '@example.org', 'lookup') FROM generate_series(1, 2000) n")
        conn.execute("SET plan_cache_mode = force_generic_plan")
        plan = "\n".join(r[0] for r in conn.execute("EXPLAIN " + FIND, ("7@example.org",)))
        ok("Index Scan" in plan, "the look-up uses the index") or print("# " + plan)
        plan = "\n".join(r[0] for r in conn.execute("EXPLAIN SELECT * FROM customer_open WHERE id IN (SELECT * FROM customer_ids(%s))", ("7@example.org",)))
        ok("customer_email_key" in plan and "Seq Scan" not in plan, "and so does the view's") or print("# " + plan)
        conn.rollback()


def view():
    with psycopg.connect(user="app") as conn:
        id, email = conn.execute("INSERT INTO customer_open (email, phone) VALUES (%s, %s) RETURNING id, email", ("View@Example.org", "1")).fetchone()
        eq(email, "view@example.org", "view: insert, RETURNING")
        eq(conn.execute("SELECT * FROM customer_open WHERE id IN (SELECT * FROM customer_ids(%s))", ("VIEW@example.org",)).fetchall(),
           [(id, "view@example.org", "1")], "view: look-up")
        conn.execute("UPDATE customer_open SET phone = %s WHERE id = %s", ("2", id))
        eq(conn.execute(FIND, ("view@example.org",)).fetchone()[2], "2", "view: update")
        eq(conn.execute("DELETE FROM customer_open WHERE id = %s", (id,)).rowcount, 1, "view: delete")


def two_roles():
    web = psycopg.connect(user="web", autocommit=True)
    office = psycopg.connect(user="office", autocommit=True)
    insert = "INSERT INTO customer (email, phone) VALUES (encrypt(%s, 'lookup'), encrypt(%s, 'pii')) RETURNING id"
    find = "SELECT id FROM customer WHERE email = ANY (search_terms(%s, 'lookup'))"
    id = web.execute(insert, ("role@example.org", "+44 3")).fetchone()
    eq(web.execute(find, ("role@example.org",)).fetchone(), id, "web seals and looks up")
    eq(office.execute(FIND, ("role@example.org",)).fetchone(), (*id, "role@example.org", "+44 3"), "office looks up and opens")
    raises(errors.InsufficientPrivilege, lambda: web.execute("SELECT decrypt(phone) FROM customer"), "web opens nothing")
    raises(errors.InsufficientPrivilege, lambda: web.execute("SELECT decrypt(email) FROM customer"), "nor what it can look up")
    raises(errors.InsufficientPrivilege, lambda: office.execute("SELECT encrypt('x', 'pii')"), "office seals nothing")
    raises(errors.UniqueViolation, lambda: web.execute(insert, ("role@example.org", "x")), "web meets the unique violation")
    web.execute("UPDATE customer SET phone = encrypt(%s, 'pii') WHERE id = %s", ("+44 4", *id))
    eq(office.execute(FIND, ("role@example.org",)).fetchone()[2], "+44 4", "web updates")


crud(False)
crud(True)
indexed()
view()
two_roles()
done()
