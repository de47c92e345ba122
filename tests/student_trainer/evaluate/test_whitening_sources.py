"""Where whitenings come from: pairs of photographs, and files of ours or of the public format."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from made_benchmark_runs import SIDE_PX, network_that_sees
from made_benchmarks import write_view
from made_public_networks import public_content

from shared.extraction import describe
from student_trainer.datasets.sfm120k import Pairs, SfmSplit, image_path
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.whitening import learn_from_pairs
from student_trainer.evaluate.whitening_sources import FromPairs, open_file


def test_pairs_of_a_training_set_teach_a_whitening_from_their_images_alone(tmp_path):
    cids = tuple(f"{number:08}" for number in range(140))
    for number, cid in enumerate(cids[:-1]):  # the last stands in no pair and need not be there
        write_view(image_path(tmp_path, cid), 0, number // 2, number % 2, size=(48, 36))
    queries = np.arange(0, 138, 2)
    split = SfmSplit(tmp_path, "val", cids, np.arange(140) // 2, Pairs(queries, queries + 1))
    source = FromPairs(split)
    assert len(source.images) == 138
    assert source.words == "learned on 69 matching pairs of SfM-120k, val"
    network = network_that_sees(split.paths[:16], 0, "resnet18-64")
    learned = source.whitening(Describer(network, SIDE_PX))
    rows = describe(network, split.paths[:138], SIDE_PX)
    expected = learn_from_pairs(rows, queries, queries + 1)
    applied, wanted = learned.apply(rows), expected.apply(rows)
    np.testing.assert_allclose(applied @ applied.T, wanted @ wanted.T, atol=2e-3)


def test_a_public_checkpoint_brings_whitenings_for_one_scale_and_for_several(tmp_path: Path):
    random = np.random.default_rng(0)
    learned = {
        "retrieval-SfM-120k": {
            kind: {
                "m": random.standard_normal((512, 1)).astype(np.float32),
                "P": random.standard_normal((512, 512)),
            }
            for kind in ("ss", "ms")
        }
    }
    path = tmp_path / "teacher.pth"
    torch.save(public_content(torchvision.models.resnet18(), Lw=learned), path)
    for scales, kind in (((1.0,), "ss"), ((1.0, 0.5), "ms")):
        source = open_file(path, scales)
        assert source.words == "teacher.pth, learned on retrieval-SfM-120k"
        np.testing.assert_array_equal(source.found.projection, learned["retrieval-SfM-120k"][kind]["P"])


def test_a_checkpoint_without_a_whitening_is_refused(tmp_path: Path):
    path = tmp_path / "teacher.pth"
    torch.save(public_content(torchvision.models.resnet18()), path)
    with pytest.raises(InvalidInput, match=r"not one whitening in it for ss .* it holds: none"):
        open_file(path, (1.0,))
