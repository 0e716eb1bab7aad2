#!/usr/bin/python3
"""The Python side of test/tap/interop.pl: one run per direction.

    exchange.py open DIR SEED   open what SQL sealed: DIR/sealed.csv
    exchange.py seal DIR SEED   seal for SQL: DIR/values.csv and latin.csv; and
                                what SQL must refuse: DIR/forms.csv, refused.csv

All it has of the keys is a copy of the key file, DIR/root-keys.json, and of the
catalog's rows, DIR/catalog.csv.  It prints a line "ok - .." or "not ok - .." for
each check.
"""

from __future__ import annotations

import csv
import random
import sys
from typing import Dict, Iterator, List, Optional, Tuple

import envelope as e

PER_KIND = 2500   # the same plan as in interop.pl: times 2 keys, with and without context


def check(passed: bool, name: str, detail: object = "") -> None:
    print(("ok - " if passed else "not ok - ") + name + ("" if passed else f": {detail}"))


def check_none(wrong: List[object], count: int, name: str) -> None:
    check(count > 0 and not wrong, f"{name} ({count})", f"{len(wrong)} wrong, first {wrong[:3]}")


def rows(path: str) -> Iterator[Dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as f:
        yield from csv.DictReader(f)


def refused_with(roots: e.RootKeys, wrap: Tuple) -> bool:
    try:
        e.open_wrap(roots, *wrap)
    except e.Refused:
        return True
    return False


def read_keys(folder: str) -> Tuple[e.Keyring, Dict[str, e.KeyVersion]]:
    """Key file and catalog to key versions, by kvid and by name; keys.md."""
    with open(f"{folder}/root-keys.json", "rb") as f:
        roots = e.parse_key_file(f.read())
    ring: e.Keyring = {}
    names: Dict[str, e.KeyVersion] = {}
    wraps, remade, bound = 0, [], []
    for row in rows(f"{folder}/catalog.csv"):
        kvid, wrapped = bytes.fromhex(row["kvid"]), bytes.fromhex(row["wrapped"])
        algorithm, label = e.ALGORITHMS[row["algorithm"]], row["label"]
        commitment = bytes.fromhex(row["commitment"])
        wrap = (row["root_key"], wrapped, algorithm, kvid, label, commitment)
        version = e.open_wrap(roots, *wrap)   # checks the commitment too
        root_id = wrapped[1:9]
        root = roots[row["root_key"][len("local:"):]][root_id.hex()]
        if e.make_wrap(root.secret, root_id, version, label) != wrapped:
            remade.append(row)
        for other in ((algorithm ^ 2, kvid, label, commitment),
                      (algorithm, e.xor(kvid, b"\0" * 7 + b"\1"), label, commitment),
                      (algorithm, kvid, label + "x", commitment),
                      (algorithm, kvid, label, bytes(32))):
            if not refused_with(roots, (row["root_key"], wrapped, *other)):
                bound.append(other)
        if ring.setdefault(kvid, version).secret != version.secret:
            remade.append(row)
        names[row["name"]] = ring[kvid]
        wraps += 1
    check_none([], wraps, "wraps of the catalog open, and their commitments fit")
    check_none(remade, wraps, "the same wraps are made here")
    check_none(bound, wraps, "a wrap opens under no other algorithm, kvid, label, commitment")
    return ring, names


# ---- SQL seals, Python opens


def open_all(folder: str) -> None:
    ring, _ = read_keys(folder)
    wrong: List[object] = []
    remade: List[object] = []
    texts: List[object] = []
    tampered: List[object] = []
    nonces = set()
    counts = {e.XAES: 0, e.SIV: 0}
    lengths = set()
    for row in rows(f"{folder}/sealed.csv"):
        value, plain = e.from_text(row["value"]), bytes.fromhex(row["plain"])
        context = row["context"].encode() or None
        try:
            opened = e.open_value(value, ring, context)
        except e.Refused as refused:
            wrong.append((row["id"], str(refused)))
            continue
        if opened != plain:
            wrong.append(row["id"])
        if e.to_text(value) != row["value"]:
            texts.append(row["id"])
        parsed = e.parse(value)
        counts[parsed.suite] += 1
        lengths.add(len(plain))
        if parsed.suite == e.XAES:
            nonces.add((parsed.kvid, parsed.body[:24]))
        # sealed again, with the same nonce: one value has one form
        again = e.seal(ring[parsed.kvid], plain, context, nonce=parsed.body[:24])
        if again != value:
            remade.append(row["id"])
        if int(row["id"]) % 10 == 0:
            at, bit = random.randrange(len(value)), 1 << random.randrange(8)
            try:
                e.open_value(value[:at] + bytes([value[at] ^ bit]) + value[at + 1:], ring, context)
                tampered.append((row["id"], at, bit))
            except e.Refused:
                pass
    count = sum(counts.values())
    check_none(wrong, count, "Python opens what SQL sealed")
    check_none(remade, count, "Python seals the same bytes, given the nonce")
    check_none(texts, count, "text form is \\x and lower-case hexadecimal")
    check_none(tampered, count // 10, "Python opens none with a bit changed")
    check(count == 4 * PER_KIND and counts[e.XAES] == counts[e.SIV], "half of 10,000 in each suite",
          counts)
    check(set(range(101)) <= lengths and max(lengths) >= 4100, "lengths 0 to 100, up to 4100")
    check(len(nonces) == counts[e.XAES], "no nonce twice", len(nonces))

    different: List[object] = []
    count = 0
    for row in rows(f"{folder}/contexts.csv"):
        parts = [bytes.fromhex(part).decode() for part in row["parts"].split("/")]
        count += 1
        if e.enc_context(*parts) != bytes.fromhex(row["context"]):
            different.append((parts, row["context"]))
    check_none(different, count, "enc_context gives the same bytes")

    different, count = [], 0
    for row in rows(f"{folder}/typed.csv"):
        count += 1
        opened = e.open_value(e.from_text(row["value"]), ring, row["context"].encode() or None)
        if opened != row["plain"].encode():
            different.append((row["name"], opened, row["plain"]))
    check_none(different, count, "values of other types, and of a LATIN1 database, are what section 10 says")


# ---- Python seals, SQL opens

ALPHABET = "aZ \n\t\\\"',0éßЖ中€😀"


def lengths(count: int) -> Iterator[int]:
    """15 times 0 to 100, then spread up to 4100."""
    near = 15 * 101
    for i in range(count):
        yield i % 101 if i < near else 101 + (i - near) * 3999 // (count - near - 1)


def a_text(size: int) -> bytes:
    """UTF-8 of exactly that many bytes, most characters of several bytes each."""
    cut = "".join(random.choices(ALPHABET, k=size)).encode()[:size]
    return cut.decode(errors="ignore").encode().ljust(size, b".")


def a_context(i: int) -> bytes:
    return (e.enc_context("customer", str(i)), b"x", "naïve Ж 😀".encode(),
            a_text(1 + i % 700))[i % 4]


class Writer:
    """A CSV file for COPY: None is NULL, bytes are hexadecimal as of bytea.

    Contexts are bytes too: psql takes a line \\. in a quoted field for the end."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w", encoding="utf-8", newline="")
        self.count = 0

    def row(self, *fields: object) -> None:
        self.count += 1
        out = [str(self.count)]
        for field in fields:
            if field is None:
                out.append("")
            elif isinstance(field, bytes):
                out.append("\\x" + field.hex())
            else:
                out.append('"' + str(field).replace('"', '""') + '"')
        self.file.write(",".join(out) + "\n")

    def close(self) -> None:
        self.file.close()


def write_values(folder: str, names: Dict[str, e.KeyVersion]) -> int:
    """key, kind, context, plain, value: every one must open."""
    out = Writer(f"{folder}/values.csv")
    for key in ("r", "d"):
        for bound in (False, True):
            for i, size in enumerate(lengths(PER_KIND)):
                is_text = i % 5 == 0
                plain = a_text(size) if is_text else random.randbytes(size)
                context = a_context(i) if bound else None
                out.row(key, "text" if is_text else "bytes", context, plain,
                        e.seal(names[key], plain, context))
            # padded: the plaintext may itself end like padding, and zeros may be none
            for i in range(300):
                plain = random.randbytes(i % 70) + random.choice((b"", b"\x80", b"\x80\0\0", b"\0\0"))
                context = a_context(i) if bound else None
                zeros = random.choice((0, 1, 15 - (len(plain) % 16), random.randrange(600)))
                out.row(key, "padded", context, plain,
                        e.seal(names[key], plain, context, padding=zeros))
    out.close()
    return out.count


def write_forms(folder: str) -> Tuple[int, int]:
    """rule, input text, canonical text (NULL: refused as malformed).  Section 1, no key needed."""
    out = Writer(f"{folder}/forms.csv")
    good = bad = 0

    def form(rule: str, value: bytes) -> None:
        nonlocal good, bad
        try:
            e.parse(value)
            good += 1
            out.row(rule, e.to_text(value), e.to_text(value))
        except e.Refused as refused:
            assert refused.sqlstate == "22P03"
            bad += 1
            out.row(rule, e.to_text(value), None)

    def text(value: str, canonical: Optional[str]) -> None:
        nonlocal good, bad
        good, bad = good + (canonical is not None), bad + (canonical is None)
        out.row("text", value, canonical)

    kvid = bytes.fromhex("1122334455667788")
    for suite, least in e.LEAST.items():
        for flags in range(4):
            base = bytes([e.MAGIC, suite, flags, 0]) + kvid + random.randbytes(least - 12)
            form("least", base)
            for size in range(len(base)):
                form("1" if size < 12 else "7", base[:size])
            for size in (1, 16, 100, 5000):
                form("longer", base + random.randbytes(size))
        for at, rule in ((0, "2"), (1, "3"), (2, "4"), (3, "5")):
            for byte in range(256):
                form(rule, base[:at] + bytes([byte]) + base[at + 1:] + bytes(80))
        for no in e.NO_KVIDS:
            form("6", base[:4] + no + base[12:])
            for at in (0, 7):
                near = bytearray(no)
                near[at] ^= 1
                form("near 6", base[:4] + bytes(near) + base[12:])
    for chunks in range(3):
        for last in (0, 1, 15, 16, 17, 40, e.CHUNK - 1):
            size = 36 + chunks * e.CHUNK + last
            form("8", (bytes([e.MAGIC, e.CHUNKS, 0, 0]) + kvid).ljust(size, b"\x55"))
    value = e.to_text(bytes([e.MAGIC, e.SIV, 0, 0]) + kvid + random.randbytes(19))
    text("\\x" + value[2:].upper(), value)
    text("\\x" + value[2:12].upper() + value[12:], value)
    for wrong in (value[2:], "\\X" + value[2:], " " + value, value + " ", value + "\n",
                  "\\\\x" + value[2:], "0x" + value[2:], value[:-1], value + "0", value[:-1] + "g",
                  value[:30] + " " + value[30:], value[:30] + "\n" + value[30:], value[:-2] + "é",
                  "", "\\x", "\\", "plain text", "\\354\\003", value[2:] + "\\x",
                  value[:40] + "\\x" + value[40:], value[:-1] + "０"):
        text(wrong, None)
    out.close()
    return good, bad


def write_refused(folder: str, ring: e.Keyring, names: Dict[str, e.KeyVersion]) -> Dict[str, int]:
    """what, form, context, value, SQLSTATE: well formed or not, none may open.

    The SQLSTATE is the one of section 11, the first check that fails."""
    out = Writer(f"{folder}/refused.csv")
    states: Dict[str, int] = {}

    def refused(what: str, value: bytes, context: Optional[bytes], form: str = "bytes",
                state: Optional[str] = None) -> None:
        if state is None:
            try:
                e.open_value(value, ring, context)
            except e.Refused as r:
                state = r.sqlstate
            assert state, f"{what} opens"
        states[state] = states.get(state, 0) + 1
        out.row(what, form, context, value, state)

    c = e.enc_context("customer", "42")
    for key in ("r", "d"):
        version = names[key]
        own = e.XAES if key == "r" else e.SIV
        other = e.SIV if key == "r" else e.XAES

        # every bit of short values; some bits of long ones; every cut and some additions
        for size in (0, 1, 15, 16, 17, 33):
            for context in (None, c):
                for padding in (None, 3):
                    value = e.seal(version, random.randbytes(size), context, padding)
                    for bit in range(8 * len(value)):
                        at = bit // 8
                        refused("bit", value[:at] + bytes([value[at] ^ 1 << bit % 8])
                                + value[at + 1:], context)
                    for cut in range(len(value)):
                        refused("cut", value[:cut], context)
                    for more in (b"\0", bytes(16), random.randbytes(9)):
                        refused("longer", value + more, context)
        for size in (300, 4096):
            value = e.seal(version, random.randbytes(size), c)
            for _ in range(300):
                at = random.randrange(len(value))
                refused("bit, long", value[:at] + bytes([value[at] ^ 1 << random.randrange(8)])
                        + value[at + 1:], c)

        # contexts
        plain, bound = e.seal(version, b"secret"), e.seal(version, b"secret", c)
        for value, context in ((plain, c), (plain, b""), (bound, None), (bound, b""), (bound, c[:-1]),
                               (bound, c + b" "), (bound, e.enc_context("customer", "43"))):
            refused("context", value, context)
        # the flag in the header and the context in the tag do not agree
        refused("flag without context", e.seal_raw(version, own, 1, b"secret", b""), b"x")
        refused("context without flag", e.seal_raw(version, own, 0, b"secret", c), None)

        # authentic, but not padded
        for flags, context in ((2, None), (3, c)):
            for sealed in (b"", b"\0", bytes(33), b"text", b"\x80x", b"\x80\x01", b"\x81\0", b"x\x40\0\0"):
                value = e.seal_raw(version, own, flags, sealed, context)
                refused("padding", value, context)

        # suites: the other key's, and those of other releases
        for flags, context in ((0, None), (1, c)):
            refused("other suite", e.seal_raw(version, other, flags, b"secret", context), context)
            refused("other suite, needless or missing", e.seal_raw(
                version, other, flags, b"secret", context), None if context else c)
            for suite in (e.KC_XAES, e.CHUNKS, e.GCM96):
                value = bytes([e.MAGIC, suite, flags, 0]) + version.kvid + random.randbytes(80)
                for given in (None, b"", c):
                    refused("later suite", value, given)

        # key versions that are not there; order with the other checks
        stranger = e.KeyVersion(random.randbytes(8), version.algorithm, version.secret)
        for flags, context in ((0, None), (1, c)):
            value = e.seal_raw(stranger, own, flags, b"secret", context)
            refused("unknown kvid", value, context)
            refused("unknown kvid, needless or missing", value, None if context else c)
        # this kvid, another secret
        forger = e.KeyVersion(version.kvid, version.algorithm, random.randbytes(32))
        refused("other secret", e.seal(forger, b"secret"), None)
        # the right secret, keys derived for another suite or without the suite
        swapped = e.KeyVersion(version.kvid, version.algorithm, version.secret)
        swapped._seal[own] = e.working_key(version.secret, "seal", other, version.kvid, 64)[
            :64 if own == e.SIV else 32]
        refused("key of the other suite", e.seal(swapped, b"secret"), None)

        # step 10: bytes that are no text of the server, opened as text
        for sealed in (b"\xff", b"a\0b", b"\0", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"):
            refused("no text", e.seal(version, sealed), None, "text", "22021")
        refused("no text, but not authentic", e.seal(forger, b"\xff"), None, "text")
    out.close()
    return states


def write_latin(folder: str, version: e.KeyVersion) -> None:
    """context, value, what decrypt() gives in a LATIN1 database: text or SQLSTATE."""
    out = Writer(f"{folder}/latin.csv")
    for plain, gives in (("Käse", "Käse"), ("ÿ", "ÿ"), ("5 €", "22021"), ("Ж", "22021"), ("😀", "22021")):
        for context in (None, "Grüße".encode(), e.enc_context("é", "ü")):
            out.row(context, e.seal(version, plain.encode(), context), gives)
    out.close()


def seal_all(folder: str) -> None:
    ring, names = read_keys(folder)
    count = write_values(folder, names)
    good, bad = write_forms(folder)
    states = write_refused(folder, ring, names)
    write_latin(folder, names["l"])
    check(count == 4 * PER_KIND + 1200, "10,000 values, and 1,200 padded, sealed by Python", count)
    check(good > 100 and bad > 5000, f"forms: {good} good, {bad} malformed", (good, bad))
    check(set(states) == {"22P03", "0A000", "22023", "42704", "22000", "22021"},
          f"refused: {sorted(states.items())}")


if __name__ == "__main__":
    direction, directory, seed = sys.argv[1:]
    random.seed(int(seed))
    csv.field_size_limit(1 << 20)
    {"open": open_all, "seal": seal_all}[direction](directory)
