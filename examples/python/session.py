"""A Python program that shares its visitors' sessions with a Node server: it verifies their cookie, reads the session that the
server saved, and sets a value. It needs only the standard library and psycopg2 (Debian: python3-psycopg2).

    DATABASE_URL=postgres://… PGSTORE_KEYS='hash-key-in-hex -' python3 session.py COOKIE-NAME COOKIE-VALUE

The standard library has no AES: if cookies are encrypted too, decrypt() below needs the package "cryptography".
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import sys
import time

import psycopg2

MAX_AGE = 30 * 24 * 3600  # the server's options.maxAge


def read_cookie(name, cookie, max_age, pairs):
    """The token that a cookie carries, or None: it is not ours, was altered, or is too old."""
    for hash_key, block_key in pairs:
        token = read_cookie_with(name, cookie, max_age, hash_key, block_key)
        if token is not None:
            return token
    return None


def read_cookie_with(name, cookie, max_age, hash_key, block_key):
    """base64( time | base64(payload) | HMAC-SHA256 of "name|time|base64(payload)" )."""
    raw = decode_base64(cookie.encode())
    if raw is None or raw.count(b"|") < 2:
        return None
    signed_at, inner, mac = raw.split(b"|", 2)  # the MAC may contain a "|" itself
    signed = name.encode() + b"|" + signed_at + b"|" + inner
    if not hmac.compare_digest(hmac.digest(hash_key, signed, "sha256"), mac):
        return None
    if not re.fullmatch(rb"\d{1,15}", signed_at) or int(signed_at) < time.time() - max_age:
        return None
    payload = decode_base64(inner)
    if payload is not None and block_key is not None:
        payload = decrypt(block_key, payload)
    return payload and decode_gob_string(payload)


def decode_base64(text):
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return data if base64.urlsafe_b64encode(data) == text else None  # one spelling only


def decrypt(block_key, payload):
    """AES-CTR; the initial counter comes first."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(payload) <= 16:
        return None
    decryptor = Cipher(algorithms.AES(block_key), modes.CTR(payload[:16])).decryptor()
    return decryptor.update(payload[16:]) + decryptor.finalize()


def decode_gob_string(payload):
    """Go's gob encoding of a text of up to 127 bytes: lengths, a type, and the text. A token has 43, or 52 if Go made it."""
    if len(payload) < 4 or payload[1:3] != b"\x0c\x00":
        return None
    text = payload[4:]
    if payload[0] != len(payload) - 1 or payload[3] != len(text) or not text.isascii():
        return None
    return text.decode()


def session_key(token):
    """The session's key in the database. The token itself is never sent there."""
    return hashlib.sha256(token.encode()).digest()


def get(cursor, key):
    """The live session with this key, or None: unknown and expired are the same."""
    # "::bytea" selects the form for one key; there is another one for many keys.
    cursor.execute("select id, user_id, data, version from pgstore.session_get(%s::bytea)", (key,))
    row = cursor.fetchone()
    return row and dict(zip(("id", "userId", "data", "version"), row))


def save(cursor, key, values, ttl):
    """Sets these values and leaves all others alone, even if another program changes them meanwhile. Returns "saved", or "gone"
    if the session was ended: a save never brings it back."""
    cursor.execute(
        "select status from pgstore.session_save(%s::bytea, %s::jsonb, p_ttl => make_interval(secs => %s))",
        (key, json.dumps(values), ttl),
    )
    return cursor.fetchone()[0]


def parse_keys(text):
    """ "hash block hash block …" in hex, "-" for no block key: the order of keyPairs."""
    keys = [None if word == "-" else bytes.fromhex(word) for word in text.split()]
    return list(zip(keys[::2], keys[1::2] + [None] * (len(keys) % 2)))


def main(name, cookie):
    token = read_cookie(name, cookie, MAX_AGE, parse_keys(os.environ["PGSTORE_KEYS"]))
    if token is None:
        sys.exit("no session: the cookie is not ours, was altered, or is too old")
    key = session_key(token)
    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        found = get(cursor, key)
        if found is None:
            sys.exit("no session: it was ended, or has expired")
        status = save(cursor, key, {"seenByPython": True}, MAX_AGE)
    connection.close()
    print(json.dumps({"found": found, "status": status}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python3 session.py COOKIE-NAME COOKIE-VALUE")
    main(*sys.argv[1:])
