"""What the methods' own public pipelines ask of a teacher, beside the one query an image that is spent here.

In: the name of an objective. Out: its :class:`PublicPipeline`, as data; and both counts, for a plan. Loads no
torch, so it names the objectives without importing them.

Most pipelines run the teacher beside the student, on every augmented view of every epoch: with the teacher at
hand that costs time, behind an API it costs queries. Here the canonical view of an image is bought once, and
the student's view alone is augmented.
"""

from dataclasses import dataclass
from typing import Any

from student_trainer.errors import InvalidInput
from student_trainer.nearest import nearest_or_all


@dataclass(frozen=True)
class PublicPipeline:
    """A published training, counted in images that the teacher describes."""

    source: str
    data_set: str
    images: int
    """Of the data set's training part."""
    views_per_epoch: int
    """That the teacher describes, each anew; 0 where it is not asked."""
    epochs: int | None
    """None where no public source says, and where the teacher is not asked."""

    @property
    def queries(self) -> int | None:
        """Of a whole training; 0 where the teacher is not asked, None where the epochs are not known."""
        if not self.views_per_epoch:
            return 0
        return None if self.epochs is None else self.views_per_epoch * self.epochs

    def queries_for(self, images: int) -> int | None:
        """At the same rate an image, over so many images."""
        return None if self.queries is None else round(self.queries * images / self.images)


# Yu et al. 2019, run_main.sh of their code: batches of 32 with 8 images a label, an epoch is one turn of each
# of the 100 training labels of CUB-200-2011, 2,000 epochs; the teacher runs on the student's augmented crops.
LMT = PublicPipeline("Yu et al. (2019)", "CUB-200-2011", 5_864, 100 * 8, 2_000)

# Park et al. 2019, examples/stanford.sh: batches of 128, 500 of them an epoch, 120 epochs, the teacher on the
# student's augmented crops.
RKD = PublicPipeline("Park et al. (2019)", "Stanford Online Products", 59_551, 128 * 500, 120)

# The same code has DarkRank's hard form and attention and hint transfer; no script for them is published with
# it, so these are its default arguments: CUB-200-2011, batches of 128, 100 an epoch, 80 epochs.
RKD_DEFAULTS = PublicPipeline("the code of Park et al. (2019)", "CUB-200-2011", 5_864, 128 * 100, 80)

# Chen et al. 2018, reid.py: each epoch runs twice through the augmented training images of Market-1501; how
# many epochs is an argument without a default.
DARKRANK = PublicPipeline("Chen et al. (2018)", "Market-1501", 12_936, 2 * 12_936, None)

# Passalis and Tefas 2018, exp1_retrieval_transfer.py: all of CIFAR-10, cropped and flipped, 20 epochs.
PKT = PublicPipeline("Passalis and Tefas (2018)", "CIFAR-10", 50_000, 50_000, 20)

# "Context Unaware Knowledge Distillation for Image Retrieval" 2022, KD.py: all of CIFAR-10, cropped and
# flipped, 160 epochs.
CUKDFIR = PublicPipeline("CUKDFIR (2022)", "CIFAR-10", 50_000, 50_000, 160)

# Laskar and Kannala 2020, Section 4: each of the 4,000 images once, before training.
RANK = PublicPipeline("Laskar and Kannala (2020)", "SfM-120k, 4,000 images", 4_000, 4_000, 1)

_SFM120K, _ANCHORS, _POOL = 91_642, 2_000, 20_000


def _aml(views_per_epoch: int) -> PublicPipeline:
    """Budnik and Avrithis 2020: 2,000 anchors and a pool of 20,000 drawn anew in each epoch of SfM-120k."""
    return PublicPipeline("Budnik and Avrithis (2020)", "SfM-120k", _SFM120K, views_per_epoch, None)


def _alone(source: str, data_set: str, images: int) -> PublicPipeline:
    """Learns from labels; no teacher is asked."""
    return PublicPipeline(source, data_set, images, 0, None)


PIPELINES: dict[str, PublicPipeline | None] = {
    "rank-mixup": RANK,
    "rank": RANK,
    "regression": _aml(_ANCHORS),
    "absolute": LMT,
    "relative": LMT,
    "rkd-distance": RKD,
    "rkd-angle": RKD,
    "rkd": RKD,
    "darkrank-soft": DARKRANK,
    "darkrank-hard": RKD_DEFAULTS,
    "pkt": PKT,
    "csd": None,  # Wu et al. 2022 published no code
    "lmt-absolute": LMT,
    "lmt-relative": LMT,
    "hint": RKD_DEFAULTS,
    "attention": RKD_DEFAULTS,
    "mse": CUKDFIR,
    # Positives and the pool of negatives are described by the teacher; with a plus, the anchors too.
    "asym-contrastive": _aml(_ANCHORS + _POOL),
    "asym-contrastive+": _aml(2 * _ANCHORS + _POOL),
    "asym-triplet": _aml(_ANCHORS + _POOL),
    "asym-multi-similarity": _aml(_ANCHORS + _POOL),
    "contrastive": _alone("Radenovic et al. (2018)", "SfM-120k", _SFM120K),
    "triplet": _alone("Budnik and Avrithis (2020)", "SfM-120k", _SFM120K),
    "multi-similarity": _alone("Budnik and Avrithis (2020)", "SfM-120k", _SFM120K),
    "ap": _alone("Revaud et al. (2019)", "Landmarks-clean", 42_410),
    "batch-hard-triplet": _alone("Hermans et al. (2017)", "Market-1501", 12_936),
    "dch": _alone("CUKDFIR (2022), step 2", "CIFAR-10", 5_000),
    "csq": _alone("CUKDFIR (2022), step 2", "CIFAR-10", 5_000),
}
"""By objective; None where no pipeline is public."""

WHITE_BOX = ("hint", "attention")
"""Learn from the feature maps of a teacher at hand, which no service shows."""


@dataclass(frozen=True)
class Demand:
    """What an objective asks of the teacher for so many planned images."""

    objective: str
    pipeline: PublicPipeline | None
    images: int

    @property
    def asks_no_teacher(self) -> bool:
        """Learns from labels alone."""
        return self.pipeline is not None and self.pipeline.views_per_epoch == 0

    @property
    def here(self) -> int:
        """One query for each image; none where no teacher is asked, or only one at hand."""
        return 0 if self.asks_no_teacher or self.objective in WHITE_BOX else self.images

    @property
    def here_with_base(self) -> int | None:
        """The same beside a base that learns from descriptors; None for what takes no base."""
        return self.images if self.objective in WHITE_BOX else None

    def document(self) -> dict[str, Any]:
        """Plain JSON; ``null`` is what no public source says, 0 what is not asked."""
        pipeline = self.pipeline
        public = pipeline and {
            "source": pipeline.source,
            "asks_a_teacher": not self.asks_no_teacher,
            "data_set": pipeline.data_set,
            "images": pipeline.images,
            "views_per_epoch": pipeline.views_per_epoch,
            "epochs": pipeline.epochs,
            "queries": pipeline.queries,
            "queries_for_these_images": pipeline.queries_for(self.images),
        }
        with_base = {} if self.here_with_base is None else {"queries_here_with_base": self.here_with_base}
        return {"name": self.objective, "public_pipeline": public, "queries_here": self.here, **with_base}

    def following(self, run: object) -> str:
        """The command that comes after the plan in this run folder."""
        train = f"student-trainer train --run {run} --objective {self.objective}"
        if self.asks_no_teacher:
            return f"Next, as nothing need be bought: {train} --manifest LABELLED"
        if self.objective in WHITE_BOX:
            return (
                f"Next: {train} --teacher-checkpoint FILE; before it, for a base that learns from "
                f"descriptors: student-trainer fetch --run {run}"
            )
        return f"Next: student-trainer fetch --run {run}"

    def text(self) -> str:
        """For people."""
        return f"{self.objective}: {self._public()} {self._here()}"

    def _public(self) -> str:
        pipeline = self.pipeline
        if pipeline is None:
            return "no public pipeline is known."
        if self.asks_no_teacher:
            return f"the public pipeline of {pipeline.source} asks no teacher, 0 queries."
        who = f"the public pipeline of {pipeline.source} on {pipeline.data_set} ({pipeline.images:,} images)"
        if pipeline.queries is None:
            return (
                f"{who} asks the teacher for {pipeline.views_per_epoch:,} views in each epoch; how many "
                "epochs is not public."
            )
        if pipeline.queries == pipeline.images:
            return f"{who} asks the teacher once for each image, {pipeline.queries:,} queries."
        return (
            f"{who} asks the teacher for every view in every epoch: {pipeline.views_per_epoch:,} views x "
            f"{pipeline.epochs:,} epochs = {pipeline.queries:,} queries; at the same rate "
            f"{pipeline.queries_for(self.images):,} for {self.images:,} images."
        )

    def _here(self) -> str:
        if self.asks_no_teacher:
            return "Here too: it learns from labels, and nothing need be bought for it."
        if self.objective in WHITE_BOX:
            return (
                f"Here: 0, or {self.images:,} with a base that learns from descriptors, one for each image: "
                "it takes the teacher itself (train --teacher-checkpoint), a service shows no maps."
            )
        return f"Here: {self.here:,}, one for each image."


def demand(objective: str, images: int) -> Demand:
    """What the objective asks of the teacher.

    Raises:
        InvalidInput: there is no objective of that name; the message has the nearest, up to four.
    """
    if objective not in PIPELINES:
        raise InvalidInput(f"There is no objective {objective!r}.{nearest_or_all(objective, PIPELINES)}")
    return Demand(objective, PIPELINES[objective], images)
