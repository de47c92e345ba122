"""Where the labels of a training come from: a manifest, SfM-120k or a public set of labelled images.

In: the options of ``train``. Out: its data, of labelled images alone; or the labels of bought images.
"""

from dataclasses import dataclass
from pathlib import Path

from student_trainer.datasets.labelled.catalogue import TRAIN
from student_trainer.datasets.labelled.opening import open_labelled
from student_trainer.datasets.labelled.split import LabelledSplit
from student_trainer.datasets.present import require_files
from student_trainer.distil.data import TrainingData, from_entries, from_manifest, from_sfm120k
from student_trainer.distil.labels.of_bought import add_entry_labels, add_labels, add_sfm120k
from student_trainer.errors import InvalidInput


@dataclass(frozen=True)
class LabelSource:
    """One place, or none.

    Raises:
        InvalidInput: several are given, or a split or a folder of none.
    """

    manifest: Path | None = None
    sfm120k: Path | None = None
    dataset: str | None = None
    root: Path | None = None
    """The folder of data sets, for ``dataset``."""
    split: str | None = None
    partly: bool = False
    """Bought images may be without a label."""

    def __post_init__(self) -> None:
        if len(self._given) > 1:
            raise InvalidInput(
                "Labels come from one place: give --manifest, --sfm120k or --dataset, not "
                f"{' and '.join(self._given)}."
            )
        if self.split is not None and not self._given:
            raise InvalidInput(
                "--split names a part of a manifest, of SfM-120k or of a public set: give --manifest FILE, "
                "--sfm120k DIR or --dataset NAME too."
            )
        if self.partly and self.sfm120k is not None:
            raise InvalidInput(
                "--partly-labelled goes with --manifest or --dataset: SfM-120k has a label for each image."
            )
        if self.root is not None and self.dataset is None:
            raise InvalidInput("--root is the folder of data sets: say with --dataset NAME which of them.")

    @property
    def option(self) -> str | None:
        """By which it is given; None where there are no labels."""
        return next(iter(self._given), None)

    @property
    def _given(self) -> list[str]:
        options = {"--manifest": self.manifest, "--sfm120k": self.sfm120k, "--dataset": self.dataset}
        return [option for option, value in options.items() if value is not None]

    def read(self) -> TrainingData:
        """The labelled images themselves, without a teacher.

        Raises:
            InvalidInput: no source is given, or it cannot be used.
        """
        if self.manifest is not None:
            return from_manifest(self.manifest, self.split)
        if self.sfm120k is not None:
            return from_sfm120k(self.sfm120k, self.split)
        public = self._public()
        require_files(public.paths, f"{public.words},")
        return from_entries(public.entries, public.words)

    def add_to(self, data: TrainingData) -> TrainingData:
        """The same for images that were bought; without a source they stay as they are.

        Of a public set only the files with the names of bought ones are read.

        Raises:
            InvalidInput: an image is not in the source, or has no label there.
        """
        if self.manifest is not None:
            return add_labels(data, self.manifest, self.split, partly=self.partly)
        if self.sfm120k is not None:
            return add_sfm120k(data, self.sfm120k, self.split)
        if self.dataset is None:
            return data
        public, names = self._public(), {image.path.name for image in data.images}
        entries = [entry for entry in public.entries if entry.path.name in names]
        require_files([entry.path for entry in entries], f"{public.words},")
        return add_entry_labels(data, entries, public.words, partly=self.partly)

    def _public(self) -> LabelledSplit:
        if self.dataset is None:
            raise InvalidInput("There are no labels: give --manifest FILE, --sfm120k DIR or --dataset NAME.")
        return open_labelled(self.dataset, self.root, self.split or TRAIN)
