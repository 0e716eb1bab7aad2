"""What the Python tests share: TAP, and the database each program has to itself."""

import os
import sys

os.environ["PGDATABASE"] = os.path.basename(sys.argv[0]).split(".")[0]
sys.path.insert(0, os.environ["ENVCRYPT_RECIPES"])

MIB = "0123456789abcdef" * 65536
count = 0


def ok(passed, name):
    global count
    count += 1
    print(f"{'ok' if passed else 'not ok'} {count} - {name}", flush=True)
    return passed


def eq(got, want, name):
    ok(got == want, name) or print(f"# got  {str(got)[:300]}\n# want {str(want)[:300]}", flush=True)


def raises(error, call, name):
    """The exception that was raised, or None."""
    try:
        call()
    except error as e:
        ok(True, name)
        return e
    except Exception as e:
        ok(False, f"{name}: {type(e)} {e}")
        return e
    ok(False, f"{name}: nothing raised")


def done():
    print(f"1..{count}")
