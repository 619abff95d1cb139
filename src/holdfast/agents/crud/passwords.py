"""Passwords as Argon2id hashes, with the parameters that argon2-cffi recommends (RFC 9106)."""

from __future__ import annotations

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

hasher = PasswordHasher()


def hashed(password: str) -> str:
    return hasher.hash(password)


def is_right(password: str, stored: str | None) -> bool:
    """Whether it is the password of the hash; without one it takes as long, and is not."""
    nobody = _nobody()
    try:
        return hasher.verify(nobody if stored is None else stored, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether it was made with other parameters than a new one would be."""
    return hasher.check_needs_rehash(stored)


@cache
def _nobody() -> str:
    return hasher.hash(secrets.token_hex())
