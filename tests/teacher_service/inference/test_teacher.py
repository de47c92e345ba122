"""The teacher's revision: the same after a restart, another for everything that changes a descriptor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.digest import digest_of_document
from teacher_service.errors import TeacherUnusable
from teacher_service.inference.teacher import Teacher, build_teacher
from teacher_service.settings import Settings


def teacher(**changes: Any) -> Teacher:
    return build_teacher(Settings(**{"arch": "mobilenet_v2-320x0.1", "image_size": 64, **changes}))


def test_random_weights_give_the_same_teacher_after_a_restart() -> None:
    first, second = teacher(), teacher()
    assert first.revision == second.revision == digest_of_document(first.description)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3), dtype=np.uint8)
    assert first.describe(pixels, ["a", "b"]) == second.describe(pixels, ["a", "b"])


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": "mobilenet_v2-320x0.1-mac"},
        {"arch": "mobilenet_v2-320x0.15"},
        {"weights_seed": 1},
        {"image_size": 65},
        {"scales": (1.0, 0.5)},
        {"truncate_dims": 8},
        {"decimals": 3},
        {"noise_sigma": 0.1, "noise_seed": "a"},
        {"noise_sigma": 0.1, "noise_seed": "b"},
    ],
)
def test_whatever_changes_a_descriptor_changes_the_revision(changes: dict[str, Any]) -> None:
    seen = {teacher().revision, teacher(noise_sigma=0.2, noise_seed="a").revision}
    assert teacher(**changes).revision not in seen


def test_what_changes_no_descriptor_leaves_the_revision(tmp_path: Path) -> None:
    assert teacher(max_batch=3, cache_bytes=0, data_dir=tmp_path).revision == teacher().revision


def test_a_checkpoint_is_served_under_the_name_and_revision_of_its_network(tmp_path: Path) -> None:
    from shared.checkpoints import save_network

    original = teacher(arch="mobilenet_v2-320x0.1-spoc", weights_seed=7)
    save_network(original.network, tmp_path / "network.safetensors")
    served = teacher(checkpoint=tmp_path / "network.safetensors")
    assert served.model_id == "mobilenet_v2-320x0.1-spoc"
    assert served.revision == original.revision


def test_descriptors_are_unit_rows_of_the_stated_dimension() -> None:
    from shared.vectors import check_rows, decode_rows

    built = teacher(truncate_dims=8, scales=(1.0, 0.7071))
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 64, 3), dtype=np.uint8)
    described = built.describe(pixels, ["a", "b", "c"])
    rows = np.concatenate([decode_rows(one.data, built.dimension) for one in described])
    check_rows(rows, n=3, dim=8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arch": "vgg19"}, "Unknown architecture"),
        ({"checkpoint": Path("/nowhere/x.safetensors")}, "/nowhere/x.safetensors"),
        ({"weights": "/nowhere/w.safetensors"}, "/nowhere/w.safetensors"),
        ({"device": "tpu"}, "tpu"),
        ({"device": "cuda:99"}, "cuda:99"),
    ],
)
def test_a_teacher_that_cannot_be_built_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TeacherUnusable, match=words):
        teacher(**changes)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(TeacherUnusable):
        teacher(checkpoint=path)
