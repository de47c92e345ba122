"""What is measured otherwise has another digest, and is never taken for what was measured before."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.checkpoints import save_network
from shared.digest import sha256_hex
from shared.network import NetworkSpec, build_network
from shared.views import WHOLE, Degradation, ImageView
from student_trainer.curve.held_back import HeldBack
from student_trainer.datasets.manifest import Entry
from student_trainer.distil.data import TrainingData
from student_trainer.distil.images import SourceImage
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.reproduce.measures import Cost
from student_trainer.trials.yardsticks import Labelled, described

VIEWS = [
    WHOLE,
    ImageView(shortest_side_px=40, crop_px=32),
    ImageView(shortest_side_px=40),
    ImageView(degradation=Degradation("downsample", 4.0)),
    ImageView(degradation=Degradation("crop", 0.6)),
]
MakeDigest = Callable[..., str]


@pytest.fixture(params=[Labelled, HeldBack, Cost])
def digest(request: pytest.FixtureRequest, tmp_path: Path) -> MakeDigest:
    """Of a measure of each kind on the same two images, with these settings."""
    paths = tuple(tmp_path / name for name in "ab")
    for path in paths:
        path.write_bytes(path.name.encode())
    sources = tuple(SourceImage(path, sha256_hex(path.read_bytes())) for path in paths)
    given: dict[type, tuple[Any, ...]] = {
        Labelled: (gallery_of([Entry(path, f"label {path.name}") for path in paths]), "labelled.csv"),
        HeldBack: (TrainingData(sources, teacher=np.eye(2, dtype=np.float32)), 0.75),
        Cost: (paths,),
    }

    def of(longest_side_px: int = 64, **settings: Any) -> str:
        measure = request.param(*given[request.param], longest_side_px, device="cpu", **settings)
        return str(measure.digest())

    return of


def test_each_view_has_its_own_and_the_whole_image_is_what_is_meant_without_one(digest: MakeDigest) -> None:
    found = [digest(view=view) for view in VIEWS]
    assert len(set(found)) == len(VIEWS)
    assert found[0] == digest()


def test_each_longest_side_has_its_own(digest: MakeDigest) -> None:
    assert len({digest(32), digest(64), digest(65)}) == 3


@pytest.mark.parametrize("digest", [Labelled], indirect=True)
def test_each_choice_of_scales_has_its_own(digest: MakeDigest) -> None:
    every = [(1.0,), (0.5,), (1.0, 0.5), (1.0, 2**-0.5, 0.5)]
    found = [digest(scales=scales) for scales in every]
    assert len(set(found)) == len(every)
    assert found[0] == digest()


def test_numbers_that_count_copies_of_a_query_are_not_taken_for_those_that_leave_them_out(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"the same")
    gallery = gallery_of([Entry(path, f"label {path.name}") for path in paths])
    nothing = replace(gallery, own_places=tuple(np.array([place]) for place in range(3)))
    assert Labelled(gallery, "m.csv", 32).digest() != Labelled(nothing, "m.csv", 32).digest()


def test_a_network_without_finite_descriptors_is_named_with_the_first_image(tmp_path: Path) -> None:
    network = build_network(NetworkSpec("mobilenet_v2-320x0.25"), seed=0)
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))
    save_network(network, tmp_path / "diverged.safetensors")
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    said = r"diverged\.safetensors gives no finite descriptor for 1 images, the first .*a\.png"
    with pytest.raises(InvalidInput, match=said):
        described(tmp_path / "diverged.safetensors", [tmp_path / "a.png"], 32, "cpu")
