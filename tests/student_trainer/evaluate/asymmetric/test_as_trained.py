"""What lies beside a student is used only if it is a projection that was trained with this very student."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.checkpoints import weights_digest
from shared.network import NetworkSpec, build_network
from student_trainer.distil.heads import Head, project, save_head
from student_trainer.evaluate.asymmetric.as_trained import AsTrained, as_trained

STUDENT = build_network(NetworkSpec("mobilenet_v2-320x0.1"), seed=0)


def found(folder: Path, head: Head, student_digest: str | None = None) -> AsTrained:
    file = folder / "head.safetensors"
    save_head(head, file, objective="regression", student_digest=student_digest or weights_digest(STUDENT))
    return as_trained(STUDENT, file)


def test_the_projection_that_was_trained_with_it_brings_its_queries_across(tmp_path: Path) -> None:
    head = Head("projection", STUDENT.dim, 7)
    way = found(tmp_path, head)
    rows = np.eye(4, STUDENT.dim, dtype=np.float32)
    assert (way.dim, way.wrong) == (7, "")
    expected = project(torch.from_numpy(rows), head).detach().numpy()
    np.testing.assert_allclose(way.apply(rows), expected, atol=1e-5)


def test_without_a_file_its_own_descriptors_ask(tmp_path: Path) -> None:
    rows = np.eye(4, STUDENT.dim, dtype=np.float32)
    for file in (None, tmp_path / "nothing.safetensors"):
        way = as_trained(STUDENT, file)
        assert (way.dim, way.wrong) == (STUDENT.dim, "")
        assert way.apply(rows) is rows


def test_a_hash_layer_is_no_way(tmp_path: Path) -> None:
    way = found(tmp_path, Head("hash", STUDENT.dim, 16, bias=True))
    assert (way.dim, way.head, way.wrong) == (STUDENT.dim, None, "")


@pytest.mark.parametrize(
    ("head", "digest", "wrong"),
    [
        (Head("projection", STUDENT.dim, 7), "ab" * 32, "was trained with another student"),
        (Head("projection", 12, 7), None, f"takes 12 dimensions, and its descriptors have {STUDENT.dim}"),
    ],
)
def test_what_belongs_to_another_student_is_not_used(
    tmp_path: Path, head: Head, digest: str | None, wrong: str
) -> None:
    way = found(tmp_path, head, digest)
    assert wrong in way.wrong and way.projection is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    file.write_bytes(b"broken")
    wrong = as_trained(STUDENT, file).wrong
    assert "cannot be read" in wrong and "head.safetensors" in wrong
