"""Encrypting and decrypting archives with age, for keys of age or of SSH; ``age`` itself reads them too.

https://github.com/C2SP/C2SP/blob/main/age.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from holdfast.errors import (
    BackupCorrupt,
    BackupEncrypted,
    ConfigurationError,
    InvalidQuery,
    MissingDependency,
)

_MAGIC = b"age-encryption.org/v1"


def is_sealed(file: IO[bytes]) -> bool:
    """Whether an open file is one of age's; it stands at its beginning then."""
    file.seek(0)
    found = file.read(len(_MAGIC)) == _MAGIC
    file.seek(0)
    return found


def recipients_of(texts: Sequence[str]) -> list[Any]:
    """The public keys that a user gave: ``age1...`` or ``ssh-ed25519 ...``.

    Raises:
        InvalidQuery: if one is none; it is not told, for it might be a secret one.
    """
    pyrage = _pyrage()
    if isinstance(texts, str) or not texts:
        raise InvalidQuery("recipients must be a list of public keys", hint="recipients=['age1...']")
    found = []
    for number, text in enumerate(texts, 1):
        kind = pyrage.ssh if str(text).startswith("ssh-") else pyrage.x25519
        try:
            found.append(kind.Recipient.from_str(str(text).strip()))
        except pyrage.RecipientError:
            raise InvalidQuery(
                f"recipient {number} is no public key of age or SSH",
                hint="age-keygen prints one that begins with age1",
            ) from None
    return found


def seal(plain: IO[bytes], file: IO[bytes], recipients: Sequence[Any]) -> None:
    """Encrypt an open file into another one, for whoever has one of the keys."""
    plain.seek(0)
    _pyrage().encrypt_io(plain, file, recipients)


def unseal(path: Path, file: IO[bytes], plain: IO[bytes], identity: Path | None) -> None:
    """Decrypt an open file into another one; every byte is authenticated.

    Raises:
        BackupEncrypted: if there is no key, or it is another one.
        BackupCorrupt: if the file is not as it was written.
        ConfigurationError: if the file of the key holds none.
    """
    if identity is None:
        raise BackupEncrypted(f"{path} is encrypted", hint="identity= is the file with the secret key")
    pyrage = _pyrage()
    keys = _identities(identity)
    try:
        pyrage.decrypt_io(file, plain, keys)
    except pyrage.DecryptError as exc:
        if "matching" in str(exc).lower():
            raise BackupEncrypted(
                f"no key in {identity} opens {path}", hint="use the secret key of one of its recipients"
            ) from None
        raise _damaged(path) from None
    except (OSError, ValueError) as exc:
        if getattr(exc, "errno", None):
            raise
        raise _damaged(path) from None


def _damaged(path: Path) -> BackupCorrupt:
    return BackupCorrupt(f"{path} is not as it was encrypted", hint="use another backup")


def _identities(path: Path) -> list[Any]:
    pyrage = _pyrage()
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"the key file {path} cannot be read: {exc.strerror}") from None
    try:
        if data.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
        keys = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, UnicodeDecodeError, ValueError):
        keys = []
    if not keys:
        raise ConfigurationError(f"{path} holds no secret key of age or SSH", hint="age-keygen -o key.txt")
    return keys


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as exc:
        raise MissingDependency("pyrage", "encrypt") from exc
    return pyrage
