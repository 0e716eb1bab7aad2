#!/usr/bin/env python3
"""Django with psycopg 3: models, migrations, queries."""

import os

from tap import MIB, done, eq, ok, raises

import django
import settings

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
settings.INSTALLED_APPS = ["shop"]
settings.DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
settings.DATABASES["default"]["NAME"] = os.environ["PGDATABASE"]
settings.DATABASES["web"] = {**settings.DATABASES["default"], "USER": "web"}
settings.DATABASES["office"] = {**settings.DATABASES["default"], "USER": "office"}
settings.USE_TZ = True
django.setup()

from django.core.exceptions import FieldError, ValidationError
from django.core.management import call_command
from django.db import DataError, IntegrityError, ProgrammingError, connection, connections, transaction
from django.db.models import Count
from django.test.utils import CaptureQueriesContext
from shop.models import Customer, Note

call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)
eq(call_command("makemigrations", "shop", check=True, dry_run=True, verbosity=0), None, "makemigrations, migrate, and nothing left to migrate")
with connection.cursor() as c:
    c.execute("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'shop_customer'::regclass AND attname = 'email'")
    eq(c.fetchone()[0], "enc_bytea(deterministic)", "the column's type")
    c.execute("GRANT SELECT, INSERT ON shop_customer TO web, office")

objects = Customer.objects
ann = objects.create(email="ann@example.org", phone="+44 1")
with CaptureQueriesContext(connection) as queries:
    got = objects.get(email="ann@example.org")
eq((got.pk, got.email, got.phone), (ann.pk, "ann@example.org", "+44 1"), "create and look up by e-mail")
ok("search_terms" in queries[0]["sql"], "by its search terms")
with connection.cursor() as c:
    c.execute("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND query LIKE %s", ["%ann@%"])
    eq(c.fetchall(), [], "values are no part of the SQL text")
eq(objects.values_list("email", "phone").get(pk=ann.pk), ("ann@example.org", "+44 1"), "values_list")
got.phone = ""
got.save()
eq(objects.get(pk=ann.pk).phone, "", "save, empty string")
objects.filter(email="ann@example.org").update(phone=MIB)
got.refresh_from_db()
eq(got.phone, MIB, "update, 1 MiB")
objects.filter(pk=ann.pk).update(phone=None)
eq(objects.get(phone=None).pk, ann.pk, "NULL")
objects.bulk_create([Customer(email=f"n{n}@example.org", phone=str(n)) for n in range(300)])
eq(sorted(objects.filter(email__in=["ann@example.org", "n1@example.org", "nobody"]).values_list("email", flat=True)),
   ["ann@example.org", "n1@example.org"], "email__in")
eq(objects.exclude(email="ann@example.org").count(), 300, "exclude")


def duplicate():
    with transaction.atomic():
        objects.create(email="ann@example.org")


eq(raises(IntegrityError, duplicate, "IntegrityError").__cause__.sqlstate, "23505", "of a unique violation")
raises(ValidationError, Customer(email="ann@example.org", phone="1").full_clean, "full_clean finds the duplicate")
objects.bulk_create([Customer(email="ann@example.org", phone="2"), Customer(email="eve@example.org", phone="3")],
                    update_conflicts=True, unique_fields=["email"], update_fields=["phone"])
eq([objects.get(email=f"{who}@example.org").phone for who in ("ann", "eve")], ["2", "3"], "upsert")
eq(objects.update_or_create(email="ann@example.org", defaults={"phone": "4"})[1], False, "update_or_create updates")
eq(objects.get_or_create(email="new@example.org")[1], True, "get_or_create creates")
ok(all(objects.get(email=f"n{n}@example.org").phone == str(n) for n in range(20)), "a look-up 20 times")
eq(list(objects.filter(email="n3@example.org").values("email").annotate(n=Count("pk"))), [{"email": "n3@example.org", "n": 1}], "GROUP BY")
raises(FieldError, lambda: objects.filter(email__startswith="a").count(), "other look-ups are refused")
raises(DataError, lambda: objects.filter(phone="1").count(), "and any by a randomized value")
plan = objects.filter(email="n3@example.org").explain()
ok("Index" in plan or "Bitmap" in plan, "the look-up uses the index") or print("# " + plan)

note = Note.objects.create(body="call back")
eq(Note.objects.get(pk=note.pk).body, "call back", "a bound value")
note.body = "called"
note.save()
eq(Note.objects.get().body, "called", "saved again")
raises(TypeError, lambda: Note.objects.update(body="x"), "update() of a bound value is refused")
other = Note.objects.create(body="x")
with connection.cursor() as c:
    c.execute("UPDATE shop_note SET body = (SELECT body FROM shop_note WHERE id = %s)", [note.pk])
raises(DataError, lambda: Note.objects.get(pk=other.pk), "and opens in no other row")

eq(objects.filter(email="ann@example.org").delete()[0], 1, "delete")
eq(objects.filter(email="ann@example.org").exists(), False, "and gone")

objects.using("web").create(email="web@example.org", phone="7")
ok(objects.using("web").only("id").get(email="web@example.org").pk, "web seals and looks up")
raises(ProgrammingError, lambda: objects.using("web").get(email="web@example.org"), "web opens nothing")
eq(objects.using("office").get(email="web@example.org").phone, "7", "office opens")
done()
