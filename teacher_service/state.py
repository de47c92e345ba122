"""What the service keeps between two runs: its signing key and its ledger.

In: settings. Out: the key, made on first use, and the ledger, not opened yet.
"""

from pathlib import Path

from teacher_service.errors import DataDirUnusable, InvalidArgument
from teacher_service.metering.archive import Archive
from teacher_service.metering.signing import ReceiptSigner, SigningKeyUnusable
from teacher_service.metering.stores import UnsupportedLedger, open_ledger
from teacher_service.settings import Settings

WATERMARKS_FILE = "watermarks.sqlite"


def load_signer(data_dir: Path) -> ReceiptSigner:
    """The key that signs receipts, made on first use. Raises DataDirUnusable."""
    try:
        return ReceiptSigner.load_or_create(data_dir)
    except SigningKeyUnusable as error:
        raise DataDirUnusable(str(error)) from error
    except OSError as error:
        raise DataDirUnusable(
            f"The data folder {data_dir} cannot be used: {error.strerror or error}. "
            "Name another with --data-dir."
        ) from error


def open_store(settings: Settings, *, serve: bool) -> Archive:
    """The ledger that the settings name, not opened yet. Raises InvalidArgument."""
    try:
        return open_ledger(
            settings.ledger_url,
            serve=serve,
            lease_ms=settings.lease_ms,
            watermarks=settings.data_dir / WATERMARKS_FILE,
            allow_unsafe_redis=settings.allow_unsafe_redis,
        )
    except UnsupportedLedger as error:
        raise InvalidArgument(str(error)) from error
