"""API keys: how they are made, and how a request proves that it holds one.

In: the ``Authorization`` header. Out: the ledger's record of the key. A key reads
``rtn_<key id>_<secret>``: the id (64 bits) finds the record, the secret (256 random bits) proves it.

The ledger stores SHA-256 of a salt and the secret. A slow hash such as argon2 protects secrets that can
be guessed; 2^256 equally likely secrets cannot be, at any speed, and a fast hash leaves the service no
lever for a flood of wrong keys to pull. The salt keeps hashes of different ledgers apart.
"""

import hashlib
import hmac
import re
import secrets

from shared.chain import Billing, Window
from teacher_service.access.rates import parse_rate
from teacher_service.metering.ledger import KeyRecord, Ledger, NewKey

_ID_BYTES, _SECRET_BYTES, _SALT_BYTES = 8, 32, 16
_KEY_PATTERN = re.compile(r"rtn_([0-9a-f]{16})_([0-9a-f]{64})")
_HEADER_PATTERN = re.compile(r"bearer +(\S+) *", re.IGNORECASE)

# An unknown id is compared too, against a hash that no secret has, so that the time does not tell.
_NO_SALT, _NO_HASH = bytes(_SALT_BYTES), bytes(hashlib.sha256().digest_size)


class InvalidApiKey(Exception):
    """The request proves no key that may be used: none sent, malformed, unknown, wrong or revoked."""


def mint(
    name: str,
    budget: int,
    rate: str = "",
    billing: Billing = "distinct",
    window: Window = "total",
    *,
    key_id: str | None = None,
) -> tuple[str, NewKey]:
    """Make a key.

    Args:
        name: whom the key is for.
        budget: queries in all, or for each window.
        rate: limit in images such as ``600/minute``; empty for none.
        billing: ``distinct`` or ``every-call``.
        window: what the budget is for; ``total`` for the key's whole life.
        key_id: from :func:`key_id_for`; None for a random one.

    Returns:
        The key's text, which exists nowhere else, and what the ledger stores.

    Raises:
        InvalidRate: ``rate`` is not a rate.
    """
    parse_rate(rate)
    key_id = key_id or secrets.token_hex(_ID_BYTES)
    secret, salt = secrets.token_hex(_SECRET_BYTES), secrets.token_bytes(_SALT_BYTES)
    new = NewKey(
        key_id=key_id,
        name=name,
        salt=salt,
        secret_hash=_hash(salt, secret),
        billing=billing,
        rate=rate,
        budget=budget,
        window=window,
    )
    return f"rtn_{key_id}_{secret}", new


def key_id_for(idempotency_key: str) -> str:
    """The id of the key that is made under an idempotency key.

    The same one leads to the same id, which a ledger takes only once: a repeated request makes no second
    key, on whichever replica it arrives and however late. The secret stays random.
    """
    return hashlib.sha256(b"key made under " + idempotency_key.encode()).hexdigest()[: 2 * _ID_BYTES]


async def authenticate(
    ledger: Ledger, authorization_header: str | None, *, may_be_revoked: bool = False
) -> KeyRecord:
    """The key that a request's ``Authorization: Bearer rtn_...`` header proves.

    Args:
        ledger: where keys are kept.
        authorization_header: as it came, or None.
        may_be_revoked: for requests that only read: who bought can audit the account after its end, too.

    Raises:
        InvalidApiKey: it proves none, or a revoked one that may not be.
        LedgerUnavailable: the ledger cannot be read.
    """
    key_id, secret = _parse(authorization_header)
    record = await ledger.key(key_id)
    salt, expected = (_NO_SALT, _NO_HASH) if record is None else (record.salt, record.secret_hash)
    same = hmac.compare_digest(_hash(salt, secret), expected)
    if record is None or not same:
        raise InvalidApiKey("This API key is not known. Check that it was copied whole.")
    if record.revoked and not may_be_revoked:
        raise InvalidApiKey(
            f"API key {key_id} was revoked and buys nothing more; its account can still be read. "
            "Ask the owner of the service for a new one."
        )
    return record


def _parse(header: str | None) -> tuple[str, str]:
    """Key id and secret. Raises InvalidApiKey; its message never repeats what was sent."""
    if not header:
        raise InvalidApiKey("No API key was sent. Send it as: Authorization: Bearer rtn_...")
    bearer = _HEADER_PATTERN.fullmatch(header)
    key = _KEY_PATTERN.fullmatch(bearer[1]) if bearer else None
    if key is None:
        raise InvalidApiKey(
            "The Authorization header holds no API key of the form: Bearer rtn_<id>_<secret>."
        )
    return key[1], key[2]


def _hash(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode("ascii")).digest()
