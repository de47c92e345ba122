"""Run folders that bought their teacher's descriptors of some images, and trained a student on them."""

from pathlib import Path

import numpy as np

from shared.digest import sha256_hex
from shared.vectors import encode_rows
from student_trainer.acquire.records import PlanFacts, PlannedImage, Teacher
from student_trainer.acquire.transfer_set import TransferSet
from student_trainer.run_folder import RunFolder


def buy(run: RunFolder, paths: list[Path], vectors: np.ndarray, stated: dict[str, object] | None) -> None:
    """A transfer set of these images and descriptors, and what their service stated of its teacher."""
    images = [PlannedImage(sha256_hex(p.read_bytes()), p, "JPEG", p.stat().st_size, 96, 72) for p in paths]
    TransferSet.create(run.transfer_set, PlanFacts("random", 0, "a folder"), chosen=images)
    with TransferSet.open(run.transfer_set) as bought:
        dim = vectors.shape[1]
        bought.set_teacher(
            Teacher("http://localhost", "k", "distinct", "cd" * 32, "ef" * 32, "t", dim, True, stated or {})
        )
        with bought.transaction():
            bought.connection.execute("INSERT INTO receipts VALUES (1, '{}')")
            for image, row in zip(images, vectors, strict=True):
                bought.connection.execute(
                    "INSERT INTO descriptors VALUES (?, ?, 1)", (image.digest, encode_rows(row))
                )
