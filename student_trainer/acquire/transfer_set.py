"""The transfer set: which images were chosen, from whom descriptors are bought, and what is held.

In: a plan (candidates and choice), later the teacher's identity. Out: the bought descriptors in the
order of choice, and counts. Offline: nothing here talks to a service. What is written while buying is
in :mod:`student_trainer.acquire.outbox`.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from shared.receipts import SignedReceipt
from shared.vectors import BYTES_PER_VALUE, Float32Rows, decode_rows
from student_trainer.acquire import store
from student_trainer.acquire.records import PlanFacts, PlannedImage, Summary, Teacher
from student_trainer.errors import StorageFailed


@dataclass(frozen=True, slots=True)
class Bought:
    """The descriptors that are held, in the order of choice."""

    paths: list[Path]
    images: list[str]
    """SHA-256 of each image file."""
    vectors: Float32Rows
    """float32 [n, D], row i for ``paths[i]``."""
    teacher_revision: str


class TransferSet:
    """An open transfer set; use it as a context manager, from one thread.

    Images that the teacher refused keep their place until the plan is made again, but are not counted as
    chosen. A set that is not complete can be used like any other: :meth:`bought` returns what is there.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path

    @classmethod
    def create(
        cls,
        path: Path,
        facts: PlanFacts,
        chosen: Sequence[PlannedImage],
        others: Iterable[PlannedImage] = (),
    ) -> None:
        """Write a new transfer set in place of whatever is at ``path``; all of it or nothing.

        Args:
            path: its file.
            facts: how ``chosen`` was chosen.
            chosen: in the order of choice.
            others: the candidates that were not chosen.

        Raises:
            StorageFailed: it cannot be written; an older file at ``path`` is then unchanged.
        """
        temporary = path.with_name(path.name + ".new")
        with cls(store.create(temporary), temporary) as new, new.transaction():
            new._write_fact("plan", facts.document())
            new.add_images(chosen, chosen=True)
            new.add_images(others, chosen=False)
        store.publish(temporary, path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a transfer set and check that its file is whole.

        Raises:
            InvalidInput: there is none, or it is of another version.
            StorageFailed: it is damaged or cannot be read.
        """
        return cls(store.open_existing(path), path)

    def close(self) -> None:
        """Close the file; everything committed is on disk already."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Group statements; see :func:`student_trainer.acquire.store.transaction`."""
        return store.transaction(self.connection, self.path)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        with store.storage_errors(self.path):
            return self.connection.execute(sql, values).fetchall()

    @property
    def facts(self) -> PlanFacts:
        """How the images were chosen."""
        return PlanFacts.from_document(self._fact("plan"))

    @property
    def teacher(self) -> Teacher | None:
        """Whose descriptors these are, or None before the first fetch."""
        fact = self._fact("teacher")
        return Teacher(**fact) if fact else None

    def set_teacher(self, teacher: Teacher) -> None:
        """Pin the teacher, or note its new address."""
        with self.transaction():
            self._write_fact("teacher", asdict(teacher))

    def add_images(self, images: Iterable[PlannedImage], *, chosen: bool) -> None:
        """Add candidates, or choose candidates, after those chosen before. Inside a transaction.

        An image that is known already gets the path given here.
        """
        position = self.rows("SELECT coalesce(max(position) + 1, 0) AS next FROM images")[0]["next"]
        for offset, image in enumerate(images):
            self.connection.execute(
                "INSERT INTO images (digest, path, format, bytes, width, height, position)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE"
                " SET path = excluded.path, position = coalesce(position, excluded.position)",
                (
                    image.digest,
                    str(image.path),
                    image.format,
                    image.bytes,
                    image.width,
                    image.height,
                    position + offset if chosen else None,
                ),
            )

    def replan(
        self, facts: PlanFacts, candidates: Sequence[PlannedImage], chosen: Sequence[PlannedImage]
    ) -> None:
        """Make ``chosen`` the plan; those chosen before keep their places, new ones follow them.

        Images that are not among ``candidates`` any more are dropped, unless they are held, refused, or
        in a request that may have been answered. Those that are held or in such a request must be
        among ``chosen``.
        """
        known = {row["digest"] for row in self.rows("SELECT digest FROM images")}
        listed = {image.digest for image in candidates}
        gone = known - listed - self.committed_digests() - self.refused_digests()
        with self.transaction():
            self._write_fact("plan", facts.document())
            self.connection.executemany("DELETE FROM images WHERE digest = ?", [(digest,) for digest in gone])
            kept = {image.digest for image in chosen}
            self.connection.executemany(
                "UPDATE images SET position = NULL WHERE digest = ?", [(digest,) for digest in known - kept]
            )
            self.add_images(chosen, chosen=True)
            self.add_images(candidates, chosen=False)  # last, because here are the paths of today

    def chosen(self) -> list[PlannedImage]:
        """The chosen images in the order of choice, without those that the teacher refused."""
        return [PlannedImage.from_row(row) for row in self.rows("SELECT * FROM chosen ORDER BY position")]

    def committed_digests(self) -> set[str]:
        """Images that are held, or in a request that may have been answered."""
        rows = self.rows("SELECT digest FROM descriptors UNION SELECT digest FROM request_images")
        return {row["digest"] for row in rows}

    def refused_digests(self) -> set[str]:
        """Images that the teacher refused."""
        return {row["digest"] for row in self.rows("SELECT digest FROM images WHERE refused IS NOT NULL")}

    def refusals(self) -> dict[Path, str]:
        """Path -> reason, of the planned images that the teacher refused and no later plan replaced."""
        rows = self.rows(
            "SELECT path, refused FROM images"
            " WHERE refused IS NOT NULL AND position IS NOT NULL ORDER BY position"
        )
        return {Path(row["path"]): row["refused"] for row in rows}

    def bought(self) -> Bought:
        """The descriptors that are held, in the order of choice; none at all gives vectors [0, D].

        Raises:
            StorageFailed: a stored descriptor has the wrong size.
        """
        rows = self.rows("SELECT path, digest, vector FROM chosen WHERE vector IS NOT NULL ORDER BY position")
        teacher = self.teacher
        dim = teacher.dim if teacher else 1
        for row in rows:
            if len(row["vector"]) != dim * BYTES_PER_VALUE:
                raise StorageFailed(
                    f"{self.path} is damaged: the descriptor of {row['path']} has {len(row['vector'])} "
                    f"bytes, expected {dim * BYTES_PER_VALUE}. Restore the file from a copy."
                )
        vectors = decode_rows(b"".join(row["vector"] for row in rows), dim)
        return Bought(
            paths=[Path(row["path"]) for row in rows],
            images=[row["digest"] for row in rows],
            vectors=np.ascontiguousarray(vectors),
            teacher_revision=teacher.revision if teacher else "",
        )

    def receipts(self) -> list[SignedReceipt]:
        """Every stored receipt, by its place on the ledger; signatures are not checked here."""
        rows = self.rows("SELECT document FROM receipts ORDER BY seq")
        try:
            return [SignedReceipt.model_validate_json(row["document"]) for row in rows]
        except ValidationError as error:
            raise StorageFailed(f"{self.path} is damaged, a receipt cannot be read: {error}.") from None

    def delivered_by(self) -> dict[str, int]:
        """Image digest -> ledger record that delivered the stored descriptor."""
        return {row["digest"]: row["receipt_seq"] for row in self.rows("SELECT * FROM descriptors")}

    def summary(self) -> Summary:
        """Counts of what is planned, held and spent."""
        row = self.rows(
            "SELECT (SELECT count(*) FROM images) AS candidates, count(*) AS chosen, count(vector) AS bought,"
            " (SELECT count(refused) FROM images WHERE position IS NOT NULL) AS refused,"
            " count(*) - count(vector) AS missing,"
            " coalesce(sum(iif(vector IS NULL, bytes, 0)), 0) AS bytes_missing FROM chosen"
        )[0]
        bodies = [receipt.body for receipt in self.receipts()]
        return Summary(
            **dict(row),
            charged=sum(body.charged for body in bodies),
            replayed=sum(body.replayed for body in bodies),
        )

    def _fact(self, name: str) -> dict[str, Any]:
        rows = self.rows("SELECT value FROM facts WHERE name = ?", name)
        value: dict[str, Any] = json.loads(rows[0]["value"]) if rows else {}
        return value

    def _write_fact(self, name: str, value: Mapping[str, Any]) -> None:
        self.connection.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value, sort_keys=True)),
        )
