"""The rank distillation loss in its exact fast form: no matrix product per round, no bins in memory.

In: a rank distillation problem. Out: its loss, with the gradient computed along the way.

With F the B unit descriptors, G = F F^T and M = W F the mixtures (W as in ``mixup``):

- **Similarities.** Mixtures to originals are W G, two rows of G each. Mixtures among themselves are
  W G W^T, two columns of that. The same for the teacher.
- **Loss.** Each similarity adds one complex number to a table of its query (``average_precision``).
- **Gradient.** A similarity's derivative is looked up in the tables of its two queries. Mixtures are
  constants (line 10 of Algorithm 1), but constant combinations of originals: with H [B, B] the derivatives in
  mixtures to originals, dL/dF gains H^T M = (W^T H)^T F. So the rounds add up coefficients W^T H, and one
  product with F closes the batch. Their diagonal is radial, which normalisation removes: it is left out.

Rounds, and tiles of rows in them, follow one another: memory is a few B x B matrices, whatever R, d and D,
and a few tables of 2 (C + 1) numbers per row.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from student_trainer.distil.average_precision import CODE_TYPE, losses_and_slopes
from student_trainer.distil.descriptors import similarities
from student_trainer.distil.labels import similarity_labels
from student_trainer.distil.mixup import MixingMatrix
from student_trainer.distil.rank_loss.autograd import solved
from student_trainer.distil.rank_loss.problem import RankProblem


def rank_loss(problem: RankProblem) -> Tensor:
    """The loss; differentiable once in the student's unit descriptors."""
    return solved(problem, _solve)


def _solve(problem: RankProblem, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
    rounds = _Rounds(problem, with_gradient)
    with _one_thread(problem.student.device):
        rounds.run()
    return rounds.loss(), rounds.gradient() if with_gradient else None


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Within it, operations on the CPU use one thread.

    Thousands of small ones follow each other, and a second thread must be woken for each. On two free cores
    that saves a third of the time; beside a busy neighbour each wake-up waits, and all took ten times longer.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Rounds:
    """What the rounds share, what they add up to, and room to work on one of them."""

    def __init__(self, problem: RankProblem, with_gradient: bool) -> None:
        self.problem, self.with_gradient = problem, with_gradient
        self.student = problem.student.detach()
        self.images = len(self.student)
        rows = problem.bins.tile_rows(self.images)
        self.tiles = [slice(start, min(start + rows, self.images)) for start in range(0, self.images, rows)]

        self.similarity = similarities(self.student)
        self.teacher_similarity = similarities(problem.teacher)
        self.relevant = similarity_labels(self.teacher_similarity, problem.tau)
        self.relevant.fill_diagonal_(problem.include_self)
        # The lists of originals begin with the originals, in every round the same.
        self.codes, self.sums = self._room(CODE_TYPE), self._no_sums()
        self.mixed_codes = self._room(CODE_TYPE)
        starts = torch.arange(self.images, dtype=torch.int32, device=self.similarity.device)
        self.column_starts = starts * problem.bins.codes
        """Where the table of a column begins, among the tables of all."""
        self.square_codes = self._room(CODE_TYPE) if problem.grad_through_mixed else None
        self.total_loss = self.similarity.new_zeros((), dtype=torch.float64)
        self.total_slopes = torch.zeros_like(self.sums.real)
        self.coefficients = torch.zeros_like(self.similarity)

    def _room(self, dtype: torch.dtype) -> Tensor:
        return torch.empty_like(self.similarity, dtype=dtype)

    def _no_sums(self) -> Tensor:
        return self.similarity.new_zeros((self.images, self.problem.bins.codes), dtype=torch.complex128)

    def run(self) -> None:
        """Algorithm 1, but for the products with F before and after."""
        for tile in self.tiles:
            self._rank(self.similarity[tile], self.relevant[tile], tile, self.sums, self.codes)
        for partners in self.problem.partners:
            self._run_round(partners)
        if self.with_gradient:
            self._close_batch()

    def _run_round(self, partners: Tensor) -> None:
        """Lines 6 to 17."""
        mixing = MixingMatrix.of(self.student, self.similarity, partners, self.problem.lam, "student")
        relevant_originals, relevant_mixtures = self._labels(partners)
        sums, mixed_sums = self.sums.clone(), self._no_sums()
        for tile in self.tiles:
            to_originals = mixing.combine(self.similarity, tile)
            codes, weights = self.problem.bins.encode(to_originals, relevant_originals[tile])
            self.mixed_codes[tile] = codes
            # Each of these similarities stands in two lists: the mixture's and the original's.
            mixed_sums[tile].scatter_add_(1, codes.long(), weights)
            places = (codes + self.column_starts).long()
            sums.view(-1).scatter_add_(0, places.view(-1), weights.view(-1))
            to_mixtures = mixing.combine_columns(to_originals)
            to_mixtures.diagonal(tile.start).fill_(1.0)
            self._rank(to_mixtures, relevant_mixtures[tile], tile, mixed_sums, self.square_codes)
        self._close_round(mixing, sums, mixed_sums)

    def _labels(self, partners: Tensor) -> tuple[Tensor, Tensor]:
        """Relevance of mixtures to originals and to mixtures, bool [B, B] each, by what the teacher says."""
        teacher, lam, tau = self.problem.teacher, self.problem.lam, self.problem.tau
        mixing = MixingMatrix.of(teacher, self.teacher_similarity, partners, lam, "teacher")
        originals, mixtures = self._room(torch.bool), self._room(torch.bool)
        for tile in self.tiles:
            to_originals = mixing.combine(self.teacher_similarity, tile)
            originals[tile] = similarity_labels(to_originals, tau)
            mixtures[tile] = similarity_labels(mixing.combine_columns(to_originals), tau)
        if self.problem.label_mixed:
            # A mixture resembles a parent of the other one, or the other way round.
            inherited = originals.T.contiguous()
            inherited = inherited | inherited.index_select(0, partners)
            mixtures |= inherited
            mixtures |= inherited.T
            originals |= self.relevant
            originals |= self.relevant.index_select(0, partners)
        return originals, mixtures.fill_diagonal_(self.problem.include_self)

    def _rank(
        self, similarity: Tensor, relevant: Tensor, tile: slice, sums: Tensor, kept_codes: Tensor | None
    ) -> None:
        """Rank a set against itself: on the diagonal stands the query, which may not count."""
        codes, weights = self.problem.bins.encode(similarity, relevant)
        if not self.problem.include_self:
            weights.diagonal(tile.start).zero_()
        if kept_codes is not None:
            kept_codes[tile] = codes
        sums[tile].scatter_add_(1, codes.long(), weights)

    def _close_round(self, mixing: MixingMatrix, sums: Tensor, mixed_sums: Tensor) -> None:
        losses, slopes = losses_and_slopes(sums, self.problem.bins)
        mixed_losses, mixed_slopes = losses_and_slopes(mixed_sums, self.problem.bins)
        self.total_loss += losses.sum() + mixed_losses.sum()
        if self.with_gradient:
            self.total_slopes += slopes
            slopes, mixed_slopes = slopes.to(self.similarity), mixed_slopes.to(self.similarity)
            for tile in self.tiles:
                rows = self._look_up(self.mixed_codes[tile], mixed_slopes[tile], slopes)
                mixing.spread(rows, tile, self.coefficients)
            if self.square_codes is not None:
                self._follow_mixtures(mixing, slopes, mixed_slopes, self.square_codes)

    def _look_up(self, codes: Tensor, row_slopes: Tensor, column_slopes: Tensor) -> Tensor:
        """Derivatives of the summed loss in similarities: what their rows and what their columns see."""
        places = (codes + self.column_starts).long()
        by_column = column_slopes.view(-1).index_select(0, places.view(-1)).view(places.shape)
        return by_column.add_(row_slopes.gather(1, codes.long()))

    def _follow_mixtures(
        self, mixing: MixingMatrix, slopes: Tensor, mixed_slopes: Tensor, square_codes: Tensor
    ) -> None:
        """With gradient through mixtures, what W^T H lacks: H among mixtures, and the normalisation of M.

        ``_close_batch`` adds the transpose, so the symmetric W^T H W is halved here. Of the radial part of
        dL/dM, W^T diag(dL/dM . M) W, only the entries (k, r_k) and (r_k, k) are off the diagonal.
        """
        halfway = torch.zeros_like(self.similarity)
        radial = self.similarity.new_empty(self.images)
        for tile in self.tiles:
            to_originals = mixing.combine(self.similarity, tile)
            slopes_to_originals = self._look_up(self.mixed_codes[tile], mixed_slopes[tile], slopes)
            slopes_to_mixtures = self._look_up(square_codes[tile], mixed_slopes[tile], mixed_slopes)
            radial[tile] = (slopes_to_originals * to_originals).sum(1)
            radial[tile] += (slopes_to_mixtures * mixing.combine_columns(to_originals)).sum(1)
            mixing.spread(slopes_to_mixtures, tile, halfway)
        halfway_t = halfway.T.contiguous().mul_(0.5)
        for tile in self.tiles:
            mixing.spread(halfway_t[tile], tile, self.coefficients)
        own, partners = mixing.pairs.unbind(1)
        self.coefficients[own, partners] -= radial * mixing.weights.prod(1)

    def _close_batch(self) -> None:
        """Add what originals give to originals, in all rounds at once."""
        if self.problem.grad_through_mixed:
            self.coefficients += self.coefficients.T.clone()
        slopes = self.total_slopes.to(self.similarity)
        for tile in self.tiles:
            self.coefficients[tile] += self._look_up(self.codes[tile], slopes[tile], slopes)
        self.coefficients.fill_diagonal_(0.0)

    def loss(self) -> Tensor:
        """The mean over rounds and queries, as a scalar of the student's type."""
        return (self.total_loss / self._queries()).to(self.similarity.dtype)

    def gradient(self) -> Tensor:
        """dL/dF [B, d], up to multiples of F's own rows."""
        return (self.coefficients.T @ self.student).div_(self._queries())

    def _queries(self) -> int:
        return 2 * self.images * len(self.problem.partners)
