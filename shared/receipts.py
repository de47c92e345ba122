"""What the service signs: a receipt for every answer, and on request the head of a key's ledger.

In: the facts of a settled request and an Ed25519 key. Out: signed statements, as JSON and as an HTTP
header, and their verification. No I/O.

A head alone would miss a tail that was cut off; a receipt in the client's hands does not: it names the
record that must lie on the chain.
"""

import base64
from collections.abc import Iterable
from typing import Generic, Literal, Self, TypeVar

import orjson
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from pydantic import BaseModel, ConfigDict, Field

from shared.chain import Count, Item, Sha256Hex
from shared.digest import canonical_json, digest_of_list


class BadReceipt(ValueError):
    """A signed statement is malformed, not signed by the expected key, or contradicts what it covers."""


class _Statement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Receipt(_Statement):
    """What one answer cost, and where it stands on the ledger."""

    kind: Literal["ration-receipt/1"] = "ration-receipt/1"
    key_id: str
    request_id: str
    seq: Count
    charged: Count
    replayed: Count
    used_after: Count
    budget: Count
    ledger_head: Sha256Hex
    """Chain hash of the settle event ``seq``."""
    teacher_revision: Sha256Hex
    delivery_digest: Sha256Hex
    """:func:`delivery_digest` of the distinct images answered, in the order of the request."""
    issued_at_ms: Count


class LedgerHead(_Statement):
    """The state of one key's ledger at one moment."""

    kind: Literal["ration-ledger-head/1"] = "ration-ledger-head/1"
    key_id: str
    seq: Count
    ledger_head: Sha256Hex
    used: Count
    budget: Count
    teacher_revision: Sha256Hex
    """The revision being served when the statement was signed."""
    issued_at_ms: Count


Body = TypeVar("Body", bound=_Statement)


class Signed(_Statement, Generic[Body]):
    """A statement and its Ed25519 signature over the statement's canonical JSON.

    The statement's ``kind`` separates the domains: a receipt can never pass for a head.
    """

    body: Body
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$")
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")

    @classmethod
    def by(cls, key: SigningKey, body: Body) -> Self:
        """Sign ``body``."""
        signature = key.sign(_signed_bytes(body)).signature
        return cls(body=body, public_key=bytes(key.verify_key).hex(), signature=signature.hex())

    def verify(self, public_key: str | None = None) -> Body:
        """Return the body if the signature is good (and by ``public_key``, where one is given).

        Raises:
            BadReceipt: wrong signer or wrong signature.
        """
        if public_key is not None and self.public_key != public_key:
            raise BadReceipt(f"Signed by {self.public_key[:16]}, expected {public_key[:16]}.")
        try:
            VerifyKey(bytes.fromhex(self.public_key)).verify(
                _signed_bytes(self.body), bytes.fromhex(self.signature)
            )
        except (BadSignatureError, ValueError):
            raise BadReceipt(f"The signature of this {self.body.kind} is not valid.") from None  # type: ignore[attr-defined]
        return self.body


SignedReceipt = Signed[Receipt]
SignedHead = Signed[LedgerHead]


def delivery_digest(items: Iterable[Item]) -> str:
    """Digest of the ordered list of (image digest, descriptor digest) of an answer."""
    return digest_of_list((item.image, item.descriptor) for item in items)


def to_header(receipt: SignedReceipt) -> str:
    """The receipt as the value of ``X-Receipt``: base64url of its JSON."""
    return base64.urlsafe_b64encode(orjson.dumps(receipt.model_dump(mode="json"))).decode("ascii")


def from_header(value: str) -> SignedReceipt:
    """Inverse of :func:`to_header`; the signature is not checked here.

    Raises:
        BadReceipt: not base64, not JSON, or not a receipt.
    """
    try:
        # Strictly: the lenient form skips foreign characters, so that two headers would be one receipt.
        return SignedReceipt.model_validate_json(base64.b64decode(value, altchars=b"-_", validate=True))
    except ValueError as error:
        raise BadReceipt(f"Not a receipt: {str(error).splitlines()[0]}.") from None


def _signed_bytes(body: _Statement) -> bytes:
    return canonical_json(body.model_dump(mode="json"))
