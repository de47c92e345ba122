"""What the label-free objectives cost beside the network: time against a training step, and memory.

In: nothing. Out: a table on standard output. A step is the forward and backward of all images in chunks. It
takes no first pass without a graph and no optimiser, so a real one is longer, and the true shares are
smaller. Each objective is measured alone, forward and backward, in a fresh process, with steps between them
in the same run; all on one thread.

    python -m benchmarks.objectives
"""

import platform
import time
from collections.abc import Iterator

import torch

from shared.allocator import keep_pages
from shared.network import NetworkSpec, build_network, calibrate_batch_norm, freeze_batch_norm
from student_trainer.distil.objectives import OBJECTIVES
from student_trainer.trials.loss_cost import LossShape, loss_cost

ARCH = "mobilenet_v2-320"
SIDE_PX, IMAGES, CHUNK = 160, 256, 32
TEACHER_DIM = 2048
WIDER_DIM = 512
"""Of another student, for the angles, whose cost is asked for at this size."""
STEPS = 3
GOAL_SHARE, GOAL_MIB = 0.05, 1024


def run() -> None:
    """Print the table."""
    keep_pages()  # as the commands do
    torch.set_num_threads(1)
    step = Step()
    print(f"{platform.platform()}, 1 thread, torch {torch.__version__}, float32")
    print(f"B={IMAGES}, {ARCH} at {SIDE_PX} px in chunks of {CHUNK}, teacher {TEACHER_DIM}-d\n")
    print(f"{'objective':<20}{'ms':>8}{'of a step':>11}{'peak MiB':>10}")
    step.seconds()  # warms up
    cases = [(name, step.dim) for name in label_free()] + [("rkd-angle", WIDER_DIM)]
    steps_s, costs = [], []
    for place, (name, dim) in enumerate(cases):
        if place % (len(cases) // STEPS) == 0:
            steps_s.append(step.seconds())
        costs.append(loss_cost(LossShape(name, {}, IMAGES, dim, TEACHER_DIM, "cpu")))
    step_ms = min(steps_s) * 1e3
    for (name, dim), cost in zip(cases, costs, strict=True):
        title = name if dim == step.dim else f"{name}, {dim}-d"
        memory = "" if cost.mebibytes is None else f"{cost.mebibytes:,.0f}"
        print(f"{title:<20}{cost.milliseconds:>8,.1f}{cost.milliseconds / step_ms:>11.2%}{memory:>10}")
    print(
        f"\nThe shortest of {len(steps_s)} steps: {step_ms:,.0f} ms; the longest {max(steps_s) * 1e3:,.0f}."
    )
    print(f"Asked: under {GOAL_SHARE:.0%} but for the angles of triplets, and these under {GOAL_MIB} MiB.")


def label_free() -> Iterator[str]:
    """The objectives that learn from bought descriptors alone."""
    for name, kind in OBJECTIVES.items():
        objective = kind()
        if objective.needs_teacher and not (objective.needs_labels or objective.facts.needs_white_box):
            yield name


class Step:
    """The network's part of a step."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.network = build_network(NetworkSpec.parse(ARCH), seed=0)
        self.images = torch.randn(IMAGES, 3, SIDE_PX, SIDE_PX, generator=random)
        # Or its features fade into denormals, which are slow.
        calibrate_batch_norm(self.network, [self.images[:CHUNK]])
        freeze_batch_norm(self.network)
        self.network.train()

    @property
    def dim(self) -> int:
        """Of its descriptors."""
        return self.network.dim

    def seconds(self) -> float:
        """Forward and backward of all images."""
        self.network.zero_grad()
        started_s = time.perf_counter()
        for chunk in torch.split(self.images, CHUNK):
            descriptors = self.network(chunk)
            descriptors.backward(torch.full_like(descriptors, 1e-3))
        return time.perf_counter() - started_s


if __name__ == "__main__":
    run()
