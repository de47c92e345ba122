"""Tables on labelled photographs say what they call relevant."""

from dataclasses import replace
from typing import Any

import pytest

from student_trainer.datasets.manifest import labelled_entries
from student_trainer.evaluate.gallery import gallery_of
from student_trainer.reproduce.methods import Methods
from student_trainer.reproduce.on_manifest import OnManifest
from student_trainer.trials.yardsticks import Labelled


@pytest.mark.parametrize("measure", [OnManifest, lambda labelled: Methods(labelled, for_teacher=labelled)])
def test_images_of_several_labels_are_not_said_to_need_the_same_one(inputs: Any, measure: Any) -> None:
    entries = labelled_entries(inputs.manifest, "test")
    several = [replace(entry, label=(str(entry.label), f"also {entry.label}")) for entry in entries]
    for labels, words in ((entries, "means the same label."), (several, "means a label in common.")):
        sentence = measure(Labelled(gallery_of(labels), "labelled.csv", 24, "cpu")).sentence
        assert words in sentence
