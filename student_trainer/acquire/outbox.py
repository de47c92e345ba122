"""Requests on their way: written down before they are sent, closed by their answer in one commit.

In: images to buy, later their answer. Out: requests that a killed and restarted fetch repeats exactly.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shared.vectors import encode_rows
from student_trainer.acquire.answers import Answer
from student_trainer.acquire.records import PlannedImage
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.errors import VerificationFailed


@dataclass(frozen=True)
class Request:
    """Images that are asked for together, and the key under which the service knows the request."""

    id: int
    idempotency_key: str
    images: tuple[PlannedImage, ...]

    @property
    def digests(self) -> list[str]:
        """SHA-256 of each image, in the order of the request."""
        return [image.digest for image in self.images]


class Outbox:
    """The requests of one transfer set. An image is in at most one of them (a constraint of the schema)."""

    def __init__(self, transfer_set: TransferSet) -> None:
        self._set = transfer_set

    def unanswered(self) -> list[Request]:
        """Requests that were written down and have no answer yet: it may be paid for already."""
        requests = self._set.rows("SELECT * FROM requests WHERE receipt_seq IS NULL ORDER BY id")
        return [Request(row["id"], row["idempotency_key"], self._images(row["id"])) for row in requests]

    def unassigned(self) -> list[PlannedImage]:
        """Chosen images that are neither held nor in a request, in the order of choice."""
        rows = self._set.rows(
            "SELECT * FROM chosen WHERE vector IS NULL"
            " AND digest NOT IN (SELECT digest FROM request_images) ORDER BY position"
        )
        return [PlannedImage.from_row(row) for row in rows]

    def compose(self, images: Sequence[PlannedImage]) -> Request:
        """Write a request down, before it is sent for the first time.

        Raises:
            StorageFailed: it could not be written, so it must not be sent.
        """
        key = str(uuid.uuid4())
        with self._set.transaction():
            cursor = self._set.connection.execute("INSERT INTO requests (idempotency_key) VALUES (?)", (key,))
            request_id = int(cursor.lastrowid or 0)
            self._set.connection.executemany(
                "INSERT INTO request_images VALUES (?, ?, ?)",
                [(request_id, rank, image.digest) for rank, image in enumerate(images)],
            )
        return Request(request_id, key, tuple(images))

    def close(self, request: Request, answer: Answer) -> None:
        """Store descriptors and receipt together; afterwards both are on disk, or neither.

        Raises:
            VerificationFailed: the receipt's ledger record is that of an earlier answer.
            StorageFailed: nothing was stored; the request stays open and its answer replays free.
        """
        seq = answer.receipt.body.seq
        if self._set.rows("SELECT 1 FROM receipts WHERE seq = ?", seq):
            raise VerificationFailed(
                f"Two answers name ledger record {seq}; the second was not stored. Tell the teacher's owner."
            )
        with self._set.transaction():
            execute, many = self._set.connection.execute, self._set.connection.executemany
            execute("INSERT INTO receipts VALUES (?, ?)", (seq, answer.receipt.model_dump_json()))
            many(
                "INSERT INTO descriptors VALUES (?, ?, ?)",
                [
                    (digest, encode_rows(row), seq)
                    for digest, row in zip(request.digests, answer.rows, strict=True)
                ],
            )
            execute("UPDATE requests SET receipt_seq = ? WHERE id = ?", (seq, request.id))

    def refuse(self, request: Request, image: PlannedImage, reason: str) -> None:
        """Note that the service refused one image; the others are free for a new request."""
        with self._set.transaction():
            self._set.connection.execute(
                "UPDATE images SET refused = ? WHERE digest = ?", (reason, image.digest)
            )
            self._delete(request)

    def forget_refusals(self, digests: Collection[str]) -> None:
        """Let images that the service refused be asked for again: its owner may have changed its limits."""
        with self._set.transaction():
            self._set.connection.executemany(
                "UPDATE images SET refused = NULL WHERE digest = ?", [(digest,) for digest in digests]
            )

    def dissolve(self, request: Request) -> None:
        """Forget a request that cannot be repeated; its images are free for a new one."""
        with self._set.transaction():
            self._delete(request)

    def _delete(self, request: Request) -> None:
        self._set.connection.execute("DELETE FROM requests WHERE id = ?", (request.id,))

    def _images(self, request_id: int) -> tuple[PlannedImage, ...]:
        rows = self._set.rows(
            "SELECT images.* FROM request_images JOIN images USING (digest)"
            " WHERE request_id = ? ORDER BY rank",
            request_id,
        )
        return tuple(PlannedImage.from_row(row) for row in rows)
