"""The service's signing key, and the statements it signs: receipts and ledger heads.

In: settlements and heads from the ledger, and the file ``signing.key`` (an Ed25519 seed, 64 hexadecimal
digits, mode 0600). Out: signed statements. Whoever loses the file can no longer sign as this service;
old receipts stay valid under the old public key.
"""

import os
import secrets
import stat
from pathlib import Path

from nacl.signing import SigningKey

from shared.digest import digest_of_list
from shared.receipts import LedgerHead, Receipt, SignedHead, SignedReceipt
from teacher_service.metering.ledger import Head, Settlement

KEY_FILE = "signing.key"
_SEED_BYTES = 32


class SigningKeyUnusable(Exception):
    """The file of the signing key is damaged, or others may read it."""


class ReceiptSigner:
    """Signs in the service's name.

    Args:
        key: the Ed25519 key.
    """

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.public_key = bytes(key.verify_key).hex()
        """Ed25519 verification key, 64 hexadecimal digits."""

    @classmethod
    def load_or_create(cls, data_dir: Path) -> "ReceiptSigner":
        """The key of ``data_dir``; made at random if there is none. Two processes end up with the same one.

        Raises:
            SigningKeyUnusable: the file is damaged, or others than its owner may read it.
            OSError: the folder cannot be read or written.
        """
        path = data_dir / KEY_FILE
        if not path.exists():
            _create(path)
        return cls(SigningKey(_read_seed(path)))

    def receipt(self, settlement: Settlement, teacher_revision: str) -> SignedReceipt:
        """The receipt of one settled request.

        Raises:
            ValueError: the record was settled under another revision.
        """
        record = settlement.link.record
        if record["teacher_revision"] != teacher_revision:
            raise ValueError(
                f"Record {settlement.seq} is of teacher {record['teacher_revision'][:12]}, "
                f"the receipt was asked for {teacher_revision[:12]}."
            )
        body = Receipt(
            key_id=record["key_id"],
            request_id=record["request_id"],
            seq=settlement.seq,
            charged=settlement.charged,
            replayed=settlement.replayed,
            used_after=settlement.used_after,
            budget=settlement.budget,
            ledger_head=settlement.link.hash,
            teacher_revision=teacher_revision,
            # The same list as receipts.delivery_digest, from the plain record.
            delivery_digest=digest_of_list((item["image"], item["descriptor"]) for item in record["items"]),
            issued_at_ms=settlement.at_ms,
        )
        return SignedReceipt.by(self._key, body)

    def head(self, head: Head, teacher_revision: str, at_ms: int) -> SignedHead:
        """The state of a key's ledger, stated at ``at_ms`` (milliseconds since 1970)."""
        body = LedgerHead(
            key_id=head.key_id,
            seq=head.seq,
            ledger_head=head.hash,
            used=head.used,
            budget=head.budget,
            teacher_revision=teacher_revision,
            issued_at_ms=at_ms,
        )
        return SignedHead.by(self._key, body)


def _create(path: Path) -> None:
    """Write a new seed under a temporary name and link it into place: whoever is first wins, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(_SEED_BYTES).encode("ascii") + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return  # another process was first; its key is the key
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_seed(path: Path) -> bytes:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SigningKeyUnusable(
            f"{path} may be read by others (mode {mode:04o}). Make it private: chmod 600 {path}"
        )
    try:
        seed = bytes.fromhex(path.read_text("ascii"))
    except (UnicodeDecodeError, ValueError):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise SigningKeyUnusable(
            f"{path} does not hold {_SEED_BYTES} bytes in hexadecimal. Restore it from a backup; a new key "
            "(move this file away) cannot sign for what the old one signed."
        )
    return seed
