"""Secrets at rest: sealed with AES-256-GCM, bound to their account, compared by digest, masked for reading.

Several keys may be configured, newest first: ``k2:<base64>,k1:<base64>``. The first seals, all open; a sealed text
names its key. Digests are made under the *last* key, because they must stay comparable: a new key is put in front and
changes none of them. To retire the last key: post every account once (this re-seals it under the first key), drop the
key, and post every account once more (this re-makes its digest; until then a doubled secret goes unnoticed).

Source: NIST SP 800-38D (96-bit random nonces); design in docs/architecture.md, "Secrets".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from dispatcher.errors import SecretError, SettingsError
from dispatcher.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12
KEY_FILE = "secret.key"
MASKED = "…secured…"
MASK_SHOWN = 3
MASK_SHORT = 12
"""A secret shorter than this shows no character of its own: six of them would be half of it."""
MAKE_A_KEY = """python -c "import base64, os; print('k1:' + base64.b64encode(os.urandom(32)).decode())\""""

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_DIGEST_PURPOSE = b"pixverse-dispatcher: digest of account secrets"


def mask(secret: SecretStr) -> str:
    """Show which secret it is without giving it away: first three and last three characters.

    Source: contract §4.6.
    """
    text = secret.get_secret_value()
    if len(text) < MASK_SHORT:
        return MASKED
    return f"{text[:MASK_SHOWN]}{MASKED}{text[-MASK_SHOWN:]}"


def new_version() -> str:
    """Make the version of a secret that was just given; unique, and later ones are larger but for clocks."""
    return f"{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """The configured keys by id, in their order: the first seals, all open, the last makes digests."""

    keys: dict[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: SecretStr | str) -> SecretKeys:
        """Read ``k2:<base64 of 32 bytes>,k1:<base64 of 32 bytes>``.

        Raises:
            SettingsError: an entry has another form; the message gives its place in the list, never its text.
        """
        plain = text.get_secret_value() if isinstance(text, SecretStr) else text
        keys: dict[str, bytes] = {}
        for place, entry in enumerate(plain.split(","), start=1):
            key_id, _, encoded = entry.strip().partition(":")
            key = _decoded(encoded)
            if not _KEY_ID.fullmatch(key_id) or key_id in keys or key is None:
                raise SettingsError(
                    f"secret_keys: entry {place} is not <id>:<base64 of {KEY_BYTES} bytes> with an id of its own; "
                    f"make one by {MAKE_A_KEY}"
                )
            keys[key_id] = key
        return cls(keys)

    def seal(self, secret: SecretStr, *, account: str, version: str) -> str:
        """Encrypt for one account and version of its secret: ``<key id>:<base64 of nonce and ciphertext>``.

        Args:
            secret: what to hide.
            account: ``<pool>:<channel>``; the text opens for this account alone.
            version: unique for each secret of the account.
        """
        key_id, key = next(iter(self.keys.items()))
        nonce = secrets.token_bytes(NONCE_BYTES)
        data = AESGCM(key).encrypt(nonce, secret.get_secret_value().encode(), _bound_to(account, key_id, version))
        return f"{key_id}:{base64.b64encode(nonce + data).decode()}"

    def open(self, sealed: str, *, account: str, version: str) -> SecretStr:
        """Decrypt what :meth:`seal` made for this account and version.

        Raises:
            SecretError: no key of that id is configured, or the text was made for another account, version or key.
        """
        key_id, _, encoded = sealed.partition(":")
        key = self.keys.get(key_id)
        if key is None:
            raise SecretError(
                f"The secret of account {account} was sealed under a key that is not configured; "
                "add that key to secret_keys, or post the account again."
            )
        try:
            data = base64.b64decode(encoded, validate=True)
            plain = AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _bound_to(account, key_id, version))
        except (binascii.Error, ValueError, InvalidTag):
            raise SecretError(
                f"The sealed secret of account {account} does not open: its key, account or version differs, "
                "or it was altered; post the account again."
            ) from None
        return SecretStr(plain.decode())

    def digest(self, secret: SecretStr) -> str:
        """Fingerprint a secret, so that equal ones are found without opening any: HMAC-SHA256, in hex."""
        last = list(self.keys.values())[-1]
        key = hmac.digest(last, _DIGEST_PURPOSE, hashlib.sha256)
        return hmac.new(key, secret.get_secret_value().encode(), hashlib.sha256).hexdigest()


def _decoded(encoded: str) -> bytes | None:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _bound_to(account: str, key_id: str, version: str) -> bytes:
    """Additional data: what the ciphertext belongs to. NUL separates, for no part can hold one."""
    return f"pixverse-dispatcher\0{account}\0{key_id}\0{version}".encode()


def load_or_create_key(state_dir: Path) -> SecretStr:
    """Read ``<state_dir>/secret.key``, or make it (mode 0600); the text is a ``secret_keys`` setting.

    Several processes may call this at once: one file wins, whole, and all read that one.

    Raises:
        SettingsError: the file can be read by others, is no plain file, or the folder cannot be written.
    """
    path = state_dir / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as error:
        raise SettingsError(f"The key file {path} cannot be used: {error.strerror}.") from error


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"k1:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key that another process has just made and may have used.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _read(path: Path) -> SecretStr:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise SettingsError(f"The key file {path} is open to others than its owner; run: chmod 600 {path}")
        return SecretStr(file.read().strip())


def keys_for(settings: Settings) -> SecretKeys:
    """Choose the keys: the setting ``secret_keys``; without it, and without a Redis URL, the state directory's own.

    Raises:
        SettingsError: a Redis URL without keys (several hosts could not share a key that one of them made up), or
            keys that cannot be read.
    """
    if settings.secret_keys is not None:
        return SecretKeys.parse(settings.secret_keys)
    if settings.redis_url is None:
        return SecretKeys.parse(load_or_create_key(settings.state_dir))
    raise SettingsError(f"With redis_url, secret_keys must be set (DISPATCHER_SECRET_KEYS); make one by {MAKE_A_KEY}")
