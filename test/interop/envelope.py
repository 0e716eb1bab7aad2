#!/usr/bin/python3
"""A second implementation of the envelope, written from its pages alone.

docs/envelope.md says what a sealed value is, docs/keys.md how the secret of a
key version is kept; the docstrings name the section followed.  Nothing here
was taken from the extension, and nothing is shared with it but the two pages:
where the two programs differ, a page or one of the programs is wrong.

It is made for tests.  Padding is not removed in constant time, and secrets
stay in memory.

    envelope.py --vectors [PAGE ..]   check every vector that the pages print,
                                      and that none of the PAGEs is left out
"""

from __future__ import annotations

import hmac
import json
import os
import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Dict, List, NamedTuple, Optional, Tuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# ---- errors (envelope.md, section 11)


class Refused(Exception):
    """A value that is not opened; sqlstate is what the server says for it."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def malformed(rule: int, message: str) -> Refused:
    return Refused("22P03", f"malformed, rule {rule}: {message}")


def not_authentic() -> Refused:
    """Section 11, step 9: one error with one message, whatever was wrong."""
    return Refused("22000", "authentication failed")


# ---- form (envelope.md, section 1)

MAGIC = 0xEC
HEADER = 12
HAS_CONTEXT = 0x01
PADDED = 0x02
XAES, KC_XAES, SIV, CHUNKS, GCM96 = 0x01, 0x02, 0x03, 0x04, 0x05
LEAST = {XAES: 52, KC_XAES: 84, SIV: 28, CHUNKS: 52, GCM96: 40}
CHUNK = 16384 + 16
NO_KVIDS = (bytes(8), b"\xff" * 8)


class Parsed(NamedTuple):
    """The header's fields, and the bytes after it."""

    suite: int
    flags: int
    kvid: bytes
    header: bytes
    body: bytes


def parse(value: bytes) -> Parsed:
    """Section 1: refuse what is malformed, in the order of its list."""
    if len(value) < HEADER:
        raise malformed(1, "fewer than 12 bytes")
    suite, flags, kvid = value[1], value[2], value[4:12]
    if value[0] != MAGIC:
        raise malformed(2, "magic")
    if suite not in LEAST:
        raise malformed(3, "suite")
    if flags & ~(HAS_CONTEXT | PADDED):
        raise malformed(4, "flags")
    if value[3] != 0:
        raise malformed(5, "reserved byte")
    if kvid in NO_KVIDS:
        raise malformed(6, "kvid")
    if len(value) < LEAST[suite]:
        raise malformed(7, "too short for its suite")
    if suite == CHUNKS and (len(value) - 36) % CHUNK < 16:
        raise malformed(8, "no room for the last chunk's tag")
    return Parsed(suite, flags, kvid, value[:HEADER], value[HEADER:])


def from_text(text: str) -> bytes:
    """Section 1: \\x and hexadecimal digits of both cases, nothing else."""
    if not re.fullmatch(r"\\x([0-9A-Fa-f]{2})*", text):
        raise Refused("22P03", "not \\x and pairs of hexadecimal digits")
    return bytes.fromhex(text[2:])


def to_text(value: bytes) -> str:
    return "\\x" + value.hex()


# ---- algorithms (envelope.md, section 2)

ALGORITHMS = {
    "xaes-256-gcm": 0x01,
    "kc-xaes-256-gcm": 0x02,
    "aes-256-siv": 0x03,
    "hmac-sha-256": 0x10,
    "key-wrap": 0x20,
}
OPENS = {0x01: (XAES, CHUNKS), 0x02: (KC_XAES,), 0x03: (SIV,), 0x10: (), 0x20: ()}
READABLE = (XAES, SIV)

# ---- context and associated data (envelope.md, sections 3 and 4)


def enc_context(*parts: str) -> bytes:
    """Section 3: parts to a context, one to one."""
    if not parts:
        raise ValueError("no parts")
    utf8 = [part.encode() for part in parts]
    return b"".join(b"%d:%s," % (len(part), part) for part in utf8)


def check_context(flags: int, context: Optional[bytes]) -> bytes:
    """Section 3: C of an envelope with these flags.  None: no context given."""
    if context == b"":
        raise Refused("22023", "empty context")
    if flags & HAS_CONTEXT and context is None:
        raise Refused("22023", "missing context")
    if not flags & HAS_CONTEXT and context is not None:
        raise Refused("22023", "needless context")
    return context or b""


def associated_data(header: bytes, context: bytes) -> bytes:
    """Section 4."""
    return (b"envcrypt/v1\0" + len(header).to_bytes(4, "big") + header
            + len(context).to_bytes(4, "big") + context)


# ---- working keys (envelope.md, section 5)


def hkdf_expand(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, 2.3, with SHA-256."""
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([i]), "sha256")
        out, i = out + block, i + 1
    return out[:length]


def working_key(secret: bytes, purpose: str, x: int, kvid: bytes, length: int = 32) -> bytes:
    """Section 5."""
    info = b"envcrypt/v1/" + purpose.encode()
    info = info.ljust(20, b"\0") + bytes([x]) + kvid
    assert len(info) == 29
    return hkdf_expand(secret, info, length)


@dataclass
class KeyVersion:
    """One version: its secret, and the working keys that were asked for."""

    kvid: bytes
    algorithm: int
    secret: bytes = field(repr=False)
    _seal: Dict[int, bytes] = field(default_factory=dict, repr=False)

    def seal_key(self, suite: int) -> bytes:
        if suite not in self._seal:
            length = 64 if suite == SIV else 32
            self._seal[suite] = working_key(self.secret, "seal", suite, self.kvid, length)
        return self._seal[suite]

    def commitment(self) -> bytes:
        """keys.md, section 4."""
        return working_key(self.secret, "commit", self.algorithm, self.kvid)


Keyring = Dict[bytes, KeyVersion]

# ---- blocks


def xor(a: bytes, b: bytes) -> bytes:
    assert len(a) == len(b)
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def double(block: bytes) -> bytes:
    """envelope.md, section 6."""
    n = int.from_bytes(block, "big") << 1
    if n >> 128:
        n = (n & (1 << 128) - 1) ^ 0x87
    return n.to_bytes(16, "big")


def aes(key: bytes, blocks: bytes) -> bytes:
    """AES-256 of each block by itself."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


# ---- suite 01 (envelope.md, section 6)


@lru_cache(maxsize=None)
def aes_of_zero(key: bytes) -> bytes:
    """L of section 6, S of section 7: they depend on the key alone."""
    return aes(key, bytes(16))


def xaes_inputs(key: bytes, nonce: bytes) -> Tuple[bytes, bytes, bytes, bytes]:
    """L, K1, M1 and M2."""
    zero = aes_of_zero(key)
    m = [bytes([0, i, 0x58, 0]) + nonce[:12] for i in (1, 2)]
    return zero, double(zero), m[0], m[1]


def xaes_subkey(key: bytes, nonce: bytes) -> bytes:
    _, k1, m1, m2 = xaes_inputs(key, nonce)
    return aes(key, xor(m1, k1) + xor(m2, k1))


def xaes_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """nonce, ciphertext, tag."""
    subkey = xaes_subkey(key, nonce)
    return nonce + AESGCM(subkey).encrypt(nonce[12:], plaintext, aad)


def xaes_open(key: bytes, body: bytes, aad: bytes) -> bytes:
    nonce, rest = body[:24], body[24:]
    try:
        return AESGCM(xaes_subkey(key, nonce)).decrypt(nonce[12:], rest, aad)
    except InvalidTag:
        raise not_authentic() from None


# ---- suite 03 (envelope.md, section 7)


def cmac_subkeys(key: bytes) -> Tuple[bytes, bytes]:
    k1 = double(aes_of_zero(key))
    return k1, double(k1)


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-256-CMAC: the last block of CBC over the message so ended."""
    k1, k2 = cmac_subkeys(key)
    if message and len(message) % 16 == 0:
        message = message[:-16] + xor(message[-16:], k1)
    else:
        message += b"\x80" + bytes(15 - len(message) % 16)
        message = message[:-16] + xor(message[-16:], k2)
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return (encryptor.update(message) + encryptor.finalize())[-16:]


@lru_cache(maxsize=None)
def cmac_of_zero(key: bytes) -> bytes:
    return cmac(key, bytes(16))


def siv_d(mac_key: bytes, aad: bytes) -> bytes:
    return xor(double(cmac_of_zero(mac_key)), cmac(mac_key, aad))


def siv_t(d: bytes, plaintext: bytes) -> bytes:
    if len(plaintext) >= 16:
        return plaintext[:-16] + xor(plaintext[-16:], d)
    return xor(double(d), plaintext + b"\x80" + bytes(15 - len(plaintext)))


def siv_q(siv: bytes) -> bytes:
    q = bytearray(siv)
    q[8] &= 0x7F
    q[12] &= 0x7F
    return bytes(q)


def siv_crypt(ctr_key: bytes, siv: bytes, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(ctr_key), modes.CTR(siv_q(siv))).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def siv_seal(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """SIV, ciphertext."""
    mac_key, ctr_key = key[:32], key[32:]
    siv = cmac(mac_key, siv_t(siv_d(mac_key, aad), plaintext))
    return siv + siv_crypt(ctr_key, siv, plaintext)


def siv_open(key: bytes, body: bytes, aad: bytes) -> bytes:
    mac_key, ctr_key = key[:32], key[32:]
    siv, ciphertext = body[:16], body[16:]
    plaintext = siv_crypt(ctr_key, siv, ciphertext)
    if not hmac.compare_digest(siv, cmac(mac_key, siv_t(siv_d(mac_key, aad), plaintext))):
        raise not_authentic()
    return plaintext


# ---- padding (envelope.md, section 9)


def pad(plaintext: bytes, zeros: int) -> bytes:
    return plaintext + b"\x80" + bytes(zeros)


def unpad(padded: bytes) -> bytes:
    rest = padded.rstrip(b"\0")
    if rest[-1:] != b"\x80":
        raise not_authentic()
    return rest[:-1]


# ---- whole values


def seal_raw(version: KeyVersion, suite: int, flags: int, sealed: bytes,
             context: Optional[bytes] = None, nonce: Optional[bytes] = None) -> bytes:
    """Seal bytes as they are, with the suite and flags given, right or wrong."""
    header = bytes([MAGIC, suite, flags, 0]) + version.kvid
    aad = associated_data(header, context or b"")
    key = version.seal_key(suite)
    if suite == SIV:
        return header + siv_seal(key, sealed, aad)
    # section 8 lets a writer choose; this one draws all 24 bytes for each value
    return header + xaes_seal(key, nonce or os.urandom(24), sealed, aad)


def seal(version: KeyVersion, plaintext: bytes, context: Optional[bytes] = None,
         padding: Optional[int] = None, nonce: Optional[bytes] = None) -> bytes:
    """Seal with the version's own suite (section 2); padding: how many 00 follow the 80."""
    if context == b"":
        raise Refused("22023", "empty context")
    suite = {0x01: XAES, 0x03: SIV}[version.algorithm]
    flags = (HAS_CONTEXT if context is not None else 0) | (PADDED if padding is not None else 0)
    if padding is not None:
        plaintext = pad(plaintext, padding)
    return seal_raw(version, suite, flags, plaintext, context, nonce)


def open_value(value: bytes, keys: Keyring, context: Optional[bytes] = None) -> bytes:
    """Section 11: the checks in their order.  Steps 5 and 7 are the server's."""
    p = parse(value)
    if p.suite not in READABLE:
        raise Refused("0A000", f"suite {p.suite} needs a newer envcrypt")
    context = check_context(p.flags, context)
    version = keys.get(p.kvid)
    if version is None:
        raise Refused("42704", "unknown key version")
    if p.suite not in OPENS[version.algorithm]:
        raise Refused("22000", "the key's algorithm does not open this suite")
    open_body = {XAES: xaes_open, SIV: siv_open}[p.suite]
    plaintext = open_body(version.seal_key(p.suite), p.body, associated_data(p.header, context))
    return unpad(plaintext) if p.flags & PADDED else plaintext


# ---- the key file (keys.md, section 2)


class RootVersion(NamedTuple):
    secret: bytes
    enabled: bool


RootKeys = Dict[str, Dict[str, RootVersion]]
ROOT_NAME = re.compile(r"[A-Za-z0-9_.:@/-]{1,128}")


def root_siv_key(secret: bytes, root_id: bytes) -> bytes:
    return hkdf_expand(secret, b"envcrypt/local/v1/wrap" + root_id, 64)


def root_check(secret: bytes, root_id: bytes) -> bytes:
    return hkdf_expand(secret, b"envcrypt/local/v1/check" + root_id, 32)[:8]


def need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"key file: {what}")


def members(value: object, *names: str) -> dict:
    need(isinstance(value, dict), "an object is expected")
    assert isinstance(value, dict)
    need(sorted(value) == sorted(names), f"members are {', '.join(sorted(value))}")
    return value


def hex_digits(value: object, size: int) -> bytes:
    need(isinstance(value, str) and re.fullmatch(r"[0-9a-f]{%d}" % (2 * size), value) is not None,
         f"{2 * size} lower-case hexadecimal digits are expected")
    assert isinstance(value, str)
    return bytes.fromhex(value)


def no_name_twice(pairs: List[Tuple[str, object]]) -> dict:
    need(len(dict(pairs)) == len(pairs), "a name twice in one object")
    return dict(pairs)


def parse_key_file(text: bytes) -> RootKeys:
    """Root keys by name (without "local:"), their versions by id."""
    need(len(text) <= 1 << 20, "more than 1 MiB")
    top = members(json.loads(text.decode(), object_pairs_hook=no_name_twice),
                  "format", "version", "protection", "keys")
    need(top["format"] == "envcrypt-local-keys", "format")
    need(type(top["version"]) is int and top["version"] == 1, "version")
    need(top["protection"] == "none", "protection")
    need(isinstance(top["keys"], dict), "keys")
    roots: RootKeys = {}
    for name, root in top["keys"].items():
        need(ROOT_NAME.fullmatch(name) is not None, "name of a root key")
        root = members(root, "primary", "versions")
        need(isinstance(root["versions"], dict), "versions")
        roots[name] = {}
        for root_id, version in root["versions"].items():
            version = members(version, "algorithm", "created", "secret", "check", "state")
            id_bytes = hex_digits(root_id, 8)
            secret = hex_digits(version["secret"], 32)
            need(version["algorithm"] == "aes-256-siv", "algorithm")
            need(isinstance(version["created"], str) and
                 re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", version["created"], re.ASCII)
                 is not None, "created")
            need(hmac.compare_digest(root_check(secret, id_bytes), hex_digits(version["check"], 8)),
                 f"the secret of local:{name} does not match its check value")
            need(version["state"] in ("enabled", "disabled"), "state")
            roots[name][root_id] = RootVersion(secret, version["state"] == "enabled")
        primary = root["primary"]
        need(isinstance(primary, str) and primary in roots[name] and roots[name][primary].enabled,
             "primary")
    return roots


# ---- wraps (keys.md, sections 3 and 4)

WRAP_LOCAL = 0x01
PAYLOAD = 44


def unavailable(why: str) -> Refused:
    return Refused("58000", f"key is unavailable: {why}")


def payload(algorithm: int, kvid: bytes, secret: bytes) -> bytes:
    return bytes([1, 1, algorithm, 0]) + kvid + secret


def wrap_binding(algorithm: int, kvid: bytes, label: str) -> bytes:
    """B."""
    utf8 = label.encode()
    return (b"envcrypt/wrap/v1" + bytes([algorithm]) + kvid
            + len(utf8).to_bytes(2, "big") + utf8)


def make_wrap(root_secret: bytes, root_id: bytes, version: KeyVersion, label: str) -> bytes:
    sealed = siv_seal(root_siv_key(root_secret, root_id),
                      payload(version.algorithm, version.kvid, version.secret),
                      wrap_binding(version.algorithm, version.kvid, label))
    return bytes([WRAP_LOCAL]) + root_id + sealed


def open_wrap(roots: RootKeys, root_key: str, wrapped: bytes, algorithm: int, kvid: bytes,
              label: str, commitment: bytes) -> KeyVersion:
    """The version whose secret is in a wrap; payload and commitment are checked first."""
    if not root_key.startswith("local:"):
        raise unavailable("only wraps under local root keys are read")
    if len(wrapped) != 1 + 8 + 16 + PAYLOAD or wrapped[0] != WRAP_LOCAL:
        raise unavailable("not a wrap under a local root key")
    root_id = wrapped[1:9]
    root = roots.get(root_key[len("local:"):], {}).get(root_id.hex())
    if root is None or not root.enabled:
        raise unavailable(f"the key file has no enabled version {root_id.hex()} of {root_key}")
    try:
        opened = siv_open(root_siv_key(root.secret, root_id), wrapped[9:],
                          wrap_binding(algorithm, kvid, label))
    except Refused:
        raise unavailable("the wrap does not open") from None
    if len(opened) != PAYLOAD or opened[:12] != payload(algorithm, kvid, b""):
        raise unavailable("the payload is of another key version")
    version = KeyVersion(kvid, algorithm, opened[12:])
    if not hmac.compare_digest(version.commitment(), commitment):
        raise unavailable("the secret does not fit the commitment")
    return version


# ---- vectors: a copy of what the pages print (envelope.md, 12; keys.md, 5)

SECRET = bytes(range(32))
KVID = bytes(range(1, 9))
CONTEXT = "8:customer,2:42,"
NONCE = bytes(range(0x40, 0x58))
FOX = b"The quick brown fox jumps over it"
ROOT_SECRET = bytes(range(0x20, 0x40))
ROOT_ID = "9f0c0a1b2c3d4e5f"

KEY_VECTORS = [
    ("commit", 0x01, "90f116b410b70a866936709f781afc21c624d84dd9436e1a2a5f668dfba9a151"),
    ("commit", 0x03, "eb49ca00bf550391ad6aebf5c180ae615d5c3d2bd33f7f80504a86a923655b94"),
    ("seal", 0x01, "fc8719e72a6f47a4c8de17d0a915579d05e51ba8a56f26625f51b2cf68af96a6"),
    ("seal", 0x02, "36d39c0532a2ffe6ecda2a52cb0b9339866af1ce91279c8c1ea4872d5c3e65fc"),
    ("seal", 0x03, "2b18017d189876c2ffffcb37efb90e5e65ea14b154d25b959229638cf5510460"
                   "b714e1eb47e6efc3583cfd1ef5523ca911fd8506efa8ed3a4ca8eeca88b30ac3"),
    ("seal", 0x04, "2d24caae417dabcd478b830578e8f90c7beb9915bffbb0029696ca3fed15b2fc"),
    ("seal", 0x05, "ce0f4248e5185481ee03ac7bd011643189fee03034a79a6b0a06a7e77065daba"),
    ("index", 0x10, "5bf65cb2a35b8464e8a52a2c3f0c89e83592b2fb5ccbefe0d2aa32087406d520"),
    ("wrap", 0x20, "73063044b7b78c0c3479c6f82add587a5b8286eb8f0c17b35844cfb49ae41f81"
                   "c9cd68c7c6b540fafe95e77fb07bb2c05947a6bff2e87cdb55967f4ee1d4c54f"),
    ("nonce", 0x00, "fbc84ae6bc65055085bf2872cdc882cd2f36230d9ca81625fb0bbf9c4083177f"),
    ("import", 0x00, "fbc73d920b358ff06db5e885e1318a0f672b297bdf8069c0d3d7bc6fa5b34aa5"),
]

AAD01 = "656e7663727970742f7631000000000cec010000010203040506070800000000"
AAD01_CONTEXT = ("656e7663727970742f7631000000000cec010100010203040506070800000010"
                 "383a637573746f6d65722c323a34322c")
AAD03 = "656e7663727970742f7631000000000cec030000010203040506070800000000"
AAD03_CONTEXT = ("656e7663727970742f7631000000000cec030100010203040506070800000010"
                 "383a637573746f6d65722c323a34322c")

XAES_VECTORS = {
    "L": "a0e61faeb3bac523d108be77da0aa9c9",
    "K1": "41cc3f5d67758a47a2117cefb4155315",
    "M1": "00015800404142434445464748494a4b",
    "M2": "00025800404142434445464748494a4b",
    "Kx": "38c0d8b6b24466d52c6ffa4fe80922414ed7e1c6fbeace3c4e4c6191127ced71",
}

SIV_VECTORS = {
    "k1": "3e487b9b5073877f20bbe0ef08a5f24d",
    "k2": "7c90f736a0e70efe4177c1de114be49a",
    "CMAC(0)": "9dfc10fa8e830d046898dc3e2468ad5a",
    "CMAC(AAD)": "1d29ee777e27defa2b442aa362de6c25",
    "D": "26d1cf826321c4f2fa7592df2a0f3616",
    "T": "2c239f04c64389e5f4eb25be541e6c2c",
    "Q": "3fdcbcbc323bce2a2f488cc76ab2c8b6",
    "CMAC(AAD), context": "ab72593164560508c85d8521c0e8321e",
    "D, context": "908a78c479501f00196c3d5d8839682d",
    "T, context": "54686520717569636b2062726f776e2066fff258ae0c3d6f7339034b38fa190159",
    "Q, context": "17e29175c1c5ae6d3622aa845976164f",
    "Q for b": "b8cf5d9064311e794305b918145a77da",
}

# algorithm, plaintext, context, bytes with padding (0: none), envelope
ENVELOPE_VECTORS = [
    (0x01, b"", None, 0,
     "ec0100000102030405060708404142434445464748494a4b4c4d4e4f5051525354555657"
     "9d47f8a1e346ef85836f3622934f7e61"),
    (0x01, b"a", None, 0,
     "ec0100000102030405060708404142434445464748494a4b4c4d4e4f5051525354555657"
     "3858bc4d942b709ac797de54e2abada4ff"),
    (0x01, FOX, CONTEXT, 0,
     "ec0101000102030405060708404142434445464748494a4b4c4d4e4f5051525354555657"
     "0d77abdebee86ffb59634b14cbf79edf23cfedfca284ba25aa04e39517ba2a4c165d515f53af4919469d315a"
     "9d3c07dc0f"),
    (0x01, b"abc", None, 16,
     "ec0102000102030405060708404142434445464748494a4b4c4d4e4f5051525354555657"
     "387dad7ecf9d069832432966a480f0ff5b6920e26cd65644f9c8bb36622934fa"),
    (0x01, b"abc", CONTEXT, 16,
     "ec0103000102030405060708404142434445464748494a4b4c4d4e4f5051525354555657"
     "387dad7ecf9d069832432966a480f0ff00e39e37007cb86f2c6e40dc25fc977f"),
    (0x03, b"a", None, 0,
     "ec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685"),
    (0x03, b"b", None, 0,
     "ec0300000102030405060708b8cf5d9064311e794305b918945a77da92"),
    (0x03, FOX[:32], None, 0,
     "ec03000001020304050607080aa0a2f5b4cec5fe1860bd4399edee1ab27587c2f286e0f7"
     "e48feb0342873f93425d1ecd5107f4033895082657fa86ab"),
    (0x03, b"", None, 0,
     "ec0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4"),
    (0x03, FOX, CONTEXT, 0,
     "ec030100010203040506070817e29175c1c5ae6d3622aa845976164f4d99e39d0f47af19"
     "05d2995e411e9e4cda74f6c5fafae86de92ff8d32452fa97f6"),
    (0x03, b"abc", None, 16,
     "ec03020001020304050607085b3c84a5afae1dbeeb43676b16a5b53823e2f032754b2dec"
     "c12373763bb9846f"),
    (0x03, b"abc", CONTEXT, 16,
     "ec0303000102030405060708da20c950f09d886df5080de6b87cbdb29d4a484767357a69"
     "5e4deec0c3328f6c"),
]

# algorithm, envelope: authentic, flag 02, but what was sealed is abc without an 80
UNPADDED_VECTORS = [
    (0x01, "ec0102000102030405060708404142434445464748494a4b4c4d4e4f5051525354555657"
           "387dadfb52b65d65a6eb501ea06b1555026223"),
    (0x03, "ec030200010203040506070895f57ee5448ad1ea8b1ef31666641f6eacc670"),
]

# rule that is broken, bytes as printed, zero bytes that follow
MALFORMED_VECTORS = [
    (1, "ec03000001020304050607", 0),
    (2, "ed0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", 0),
    (3, "ec0600000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", 0),
    (4, "ec0304000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", 0),
    (5, "ec0300010102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", 0),
    (6, "ec0300000000000000000000d26bb17c6fbcdd1731ce15fa9183a6a4", 0),
    (6, "ec030000ffffffffffffffffd26bb17c6fbcdd1731ce15fa9183a6a4", 0),
    (7, "ec0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6", 0),
    (8, "ec0400000102030405060708", 16424),
]

CONTEXT_VECTORS = [("é", "323ac3a92c"), ("", "303a2c")]

WRAP_VECTORS = {
    "SIV key": "00fd397ae076c0f4550915cf8cc7e4199a0bfbd0b265ff929e34fbdd024207f8"
               "f11f1d20f5e04bd5122154e237d4bdf64d2203730c7e76725cbaa42cf676b31c",
    "check": "cd9bad080235b010",
    "payload": "010101000102030405060708"
               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "B": "656e7663727970742f777261702f76310101020304050607080003706969",
    "wrap 01": "019f0c0a1b2c3d4e5fa26679e8d3f67ef5693c4298fddfc9493d4a92499ff222b1ae97234f07347f"
               "bb1d193a10a9a063f7d73459277c1486855ee85ff4bcc15a56de2974a3",
    "wrap 03": "019f0c0a1b2c3d4e5f509e59e001ff49984bda57dfd6d805b1e4dae88e4151fbb0fef9b1ea731a76"
               "043a8ae8995ab179adf226abe33306f005d4892b5110fb52cd7ca4da6d",
}


class Vectors:
    """Compares, and remembers what was compared."""

    def __init__(self) -> None:
        self.seen = {SECRET.hex(), KVID.hex(), NONCE.hex(), ROOT_SECRET.hex(), ROOT_ID}
        self.wrong = 0

    def check(self, name: str, got: bytes, want: str) -> None:
        self.seen.add(want)
        if got.hex() != want:
            self.wrong += 1
            print(f"{name}:\n  page {want}\n  here {got.hex()}")

    def working_keys(self) -> None:
        for purpose, x, want in KEY_VECTORS:
            key = working_key(SECRET, purpose, x, KVID, len(want) // 2)
            self.check(f"{purpose}, {x:02x}", key, want)

    def suite_01(self) -> None:
        key = working_key(SECRET, "seal", XAES, KVID)
        values = (*xaes_inputs(key, NONCE), xaes_subkey(key, NONCE))
        for (name, want), got in zip(XAES_VECTORS.items(), values):
            self.check(name, got, want)

    def suite_03(self) -> None:
        key = working_key(SECRET, "seal", SIV, KVID, 64)[:32]
        aad, bound = bytes.fromhex(AAD03), bytes.fromhex(AAD03_CONTEXT)
        t, bound_t = siv_t(siv_d(key, aad), b"a"), siv_t(siv_d(key, bound), FOX)
        k1, k2 = cmac_subkeys(key)
        values = (k1, k2, cmac(key, bytes(16)), cmac(key, aad), siv_d(key, aad), t,
                  siv_q(cmac(key, t)), cmac(key, bound), siv_d(key, bound), bound_t,
                  siv_q(cmac(key, bound_t)), siv_q(cmac(key, siv_t(siv_d(key, aad), b"b"))))
        for (name, want), got in zip(SIV_VECTORS.items(), values):
            self.check(name, got, want)

    def envelopes(self) -> None:
        self.check("enc_context", enc_context("customer", "42"), CONTEXT.encode().hex())
        for suite, aad, bound in ((1, AAD01, AAD01_CONTEXT), (3, AAD03, AAD03_CONTEXT)):
            for flags, context, want in ((0, b"", aad), (1, CONTEXT.encode(), bound)):
                header = bytes([MAGIC, suite, flags, 0]) + KVID
                self.check(f"AAD {suite}", associated_data(header, context), want)
        for algorithm, plaintext, context, size, want in ENVELOPE_VECTORS:
            version = KeyVersion(KVID, algorithm, SECRET)
            bound_to = context.encode() if context else None
            padding = size - len(plaintext) - 1 if size else None
            name = f"suite {algorithm:02x}, {plaintext!r}"
            self.check(name, seal(version, plaintext, bound_to, padding, NONCE), want)
            opened = open_value(bytes.fromhex(want), {KVID: version}, bound_to)
            self.check(f"{name}, opened", opened, plaintext.hex())
        for part, want in CONTEXT_VECTORS:
            self.check(f"enc_context({part!r})", enc_context(part), want)

    def refused(self, name: str, value: bytes, reason: str) -> None:
        try:
            open_value(value, {KVID: KeyVersion(KVID, value[1], SECRET)})
            got = "opened"
        except Refused as refusal:
            got = str(refusal)
        if not got.startswith(reason):
            self.wrong += 1
            print(f"{name}: {got}")

    def negatives(self) -> None:
        for algorithm, want in UNPADDED_VECTORS:
            version = KeyVersion(KVID, algorithm, SECRET)
            name = f"suite {algorithm:02x}, unpadded"
            self.check(name, seal_raw(version, algorithm, PADDED, b"abc", None, NONCE), want)
            self.refused(name, bytes.fromhex(want), str(not_authentic()))
        for rule, start, zeros in MALFORMED_VECTORS:
            self.seen.add(start)
            self.refused(f"rule {rule}", bytes.fromhex(start) + bytes(zeros), f"malformed, rule {rule}:")
        parse(bytes.fromhex(start) + bytes(zeros + 16))

    def wraps(self) -> None:
        root_id = bytes.fromhex(ROOT_ID)
        version = KeyVersion(KVID, 0x01, SECRET)
        searchable = KeyVersion(KVID, 0x03, SECRET)
        values = (root_siv_key(ROOT_SECRET, root_id), root_check(ROOT_SECRET, root_id),
                  payload(0x01, KVID, SECRET), wrap_binding(0x01, KVID, "pii"),
                  make_wrap(ROOT_SECRET, root_id, version, "pii"),
                  make_wrap(ROOT_SECRET, root_id, searchable, "a" * 128))
        for (name, want), got in zip(WRAP_VECTORS.items(), values):
            self.check(name, got, want)
        roots = {"default": {ROOT_ID: RootVersion(ROOT_SECRET, True)}}
        for v, label, name in ((version, "pii", "wrap 01"), (searchable, "a" * 128, "wrap 03")):
            opened = open_wrap(roots, "local:default", bytes.fromhex(WRAP_VECTORS[name]),
                               v.algorithm, KVID, label, v.commitment())
            self.check(f"{name}, opened", opened.secret, SECRET.hex())

    def page(self, path: str) -> None:
        """Every long hexadecimal string of a page's section "Vectors" was compared."""
        with open(path, encoding="utf-8") as f:
            section = re.search(r"^## \d+\. Vectors$(.*?)(?=^## |\Z)", f.read(), re.M | re.S)
        found = re.findall(r"`([0-9a-f]{16,})`", section[1]) if section else []
        if not found:
            self.wrong += 1
            print(f"{path}: no vectors found")
        for value in found:
            if value not in self.seen:
                self.wrong += 1
                print(f"{path}: not checked here: {value}")


def check_vectors(pages: List[str]) -> int:
    vectors = Vectors()
    for part in (vectors.working_keys, vectors.suite_01, vectors.suite_03, vectors.envelopes,
                 vectors.negatives, vectors.wraps):
        part()
    for path in pages:
        vectors.page(path)
    print(f"{len(vectors.seen)} strings compared, {vectors.wrong} wrong")
    return 1 if vectors.wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] != ["--vectors"]:
        sys.exit(__doc__)
    sys.exit(check_vectors(sys.argv[2:]))
