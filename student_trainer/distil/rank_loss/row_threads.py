"""Work on the rows of a matrix, shared out among threads of this call alone.

In: a function of a range of rows, whose results do not depend on how rows are grouped. Out: all rows done.

The threads take ranges from a queue and sleep when there are none: several calls at once, a fork, or a busy
neighbour do no harm. PyTorch's own threads are off meanwhile: they would spin for work on the same cores,
and the bits of a matrix product would depend on their number.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

import torch

_RANGES_PER_THREAD = 8
_FEWEST_ROWS = 16
"""In a range: below, calling costs more than working."""
_FEWEST_PER_THREAD = 128
"""Below, waking a second thread costs more than it saves."""


class RowThreads:
    """A context. Within it ``run`` works with as many threads as PyTorch had, which itself has one."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.count = max(1, min(torch.get_num_threads(), rows // _FEWEST_PER_THREAD))
        self._exit = ExitStack()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "RowThreads":
        before = torch.get_num_threads()
        if before > 1:
            torch.set_num_threads(1)
            self._exit.callback(torch.set_num_threads, before)
        if self.count > 1:
            self._pool = self._exit.enter_context(ThreadPoolExecutor(self.count - 1, "rank-loss"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def run(self, work: Callable[[int, int], object], step: int | None = None) -> None:
        """Call ``work(start, stop)`` for ranges that cover all rows, the last ones first.

        Args:
            work: called from several threads; what it raises is raised here.
            step: rows of a range, where the result does depend on the grouping.
        """
        step = step or max(_FEWEST_ROWS, -(-self.rows // (_RANGES_PER_THREAD * self.count)))
        todo = deque((start, min(start + step, self.rows)) for start in range(0, self.rows, step))

        def take_ranges() -> None:
            while True:
                try:
                    start, stop = todo.pop()
                except IndexError:
                    return
                work(start, stop)

        others = [self._pool.submit(take_ranges) for _ in range(self.count - 1)] if self._pool else []
        take_ranges()
        for other in others:
            other.result()
