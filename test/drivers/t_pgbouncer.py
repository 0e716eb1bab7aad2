#!/usr/bin/env python3
"""psycopg through pgbouncer in transaction mode, two clients on one server connection."""

import os
import subprocess
import tempfile
import time

from tap import MIB, done, eq, ok, raises

import psycopg
from models_sqlalchemy import Customer
from psycopg import errors
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from with_pgbouncer import connect
from with_psycopg import FIND, UPSERT

port, db = int(os.environ["PGPORT"]) + 1, os.environ["PGDATABASE"]
folder = tempfile.mkdtemp()
with open(f"{folder}/users", "w") as f:
    f.write('"app" ""\n"web" ""\n')
with open(f"{folder}/pgbouncer.ini", "w") as f:
    f.write(f"""[databases]
{db} = host=127.0.0.1 port={os.environ["PGPORT"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 1
""")
bouncer = subprocess.Popen(["pgbouncer", "-q", f"{folder}/pgbouncer.ini"], stderr=open(f"{folder}/log", "w"))
try:
    conninfo = f"host=127.0.0.1 port={port} dbname={db} user=app"
    for _ in range(100):
        try:
            connect(conninfo).close()
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    a, b = connect(conninfo), connect(conninfo)
    admin = psycopg.connect(user="postgres", autocommit=True)

    def one(conn, sql, *args):
        with conn.transaction():
            return conn.execute(sql, args).fetchone()

    pid = "SELECT pg_backend_pid()"
    eq(one(a, pid), one(b, pid), "two clients share a server connection")
    for n in range(12):
        one(a, UPSERT, f"a{n}@example.org", str(n))
        eq(one(b, FIND, f"A{n}@example.org")[1:], (f"a{n}@example.org", str(n)), f"one writes, the other looks up, {n}")
    eq(one(b, UPSERT, "a3@example.org", "again")[1], "again", "upsert")
    eq(one(a, FIND, "a3@example.org")[2], "again", "is read by the other")
    eq(one(a, UPSERT, "big@example.org", MIB)[1], MIB, "1 MiB")
    eq(one(a, UPSERT, "null@example.org", None)[1], None, "NULL")
    eq(one(a, UPSERT, "empty@example.org", "")[1], "", "empty string")
    insert = "INSERT INTO customer (email) VALUES (encrypt(%s, 'lookup'))"
    raises(errors.UniqueViolation, lambda: one(a, insert, "a1@example.org"), "unique violation")
    eq(one(b, FIND, "a1@example.org")[1], "a1@example.org", "after which the connection serves")
    eq([r[1] for r in b.cursor(binary=True).execute(FIND, ("a1@example.org",))], ["a1@example.org"], "binary results")
    b.rollback()

    admin.execute("SELECT envcrypt.disable_key('pii')")
    raises(errors.ObjectNotInPrerequisiteState, lambda: one(a, FIND, "a1@example.org"), "a disabled key stops the pooled connection")
    admin.execute("SELECT envcrypt.enable_key('pii')")
    eq(one(b, FIND, "a1@example.org")[2], "1", "and enabled goes on")
    admin.execute("SELECT envcrypt.revoke_key('pii', 'app')")
    raises(errors.InsufficientPrivilege, lambda: one(b, FIND, "a1@example.org"), "a revoked grant counts at once")
    admin.execute("SELECT envcrypt.grant_key('pii', 'app')")
    eq(one(a, FIND, "a1@example.org")[2], "1", "and so does a given one")

    engine = create_engine(f"postgresql+psycopg://app@127.0.0.1:{port}/{db}", connect_args={"prepare_threshold": None})
    for n in range(6):
        with Session(engine) as one_session, Session(engine) as other:
            one_session.add(Customer(email=f"orm{n}@example.org", phone=str(n)))
            one_session.commit()
            eq(other.scalars(select(Customer.phone).where(Customer.email == f"orm{n}@example.org")).one(), str(n), f"SQLAlchemy, {n}")

    web = connect(f"host=127.0.0.1 port={port} dbname={db} user=web")
    raises(errors.InsufficientPrivilege, lambda: one(web, FIND, "a1@example.org"), "web has a connection and rights of its own")
    eq(one(web, "SHOW search_path")[0], "public, envcrypt", "and its search path")
finally:
    bouncer.terminate()
    bouncer.wait(10)
done()
