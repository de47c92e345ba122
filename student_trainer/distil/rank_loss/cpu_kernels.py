"""The rank distillation loss row by row, as machine code that numba makes for this computer's processor.

In: the arrays of a batch, a round's weights and the bins (``rows``), and a range of rows. Out: those
rows of the losses, of the tables of derivatives, and of the gradient's coefficients, written in place.

A query's row depends on the matrices alone, every sum belongs to one row, and the terms of a row follow
each other: how rows are shared out among threads changes no bit of the result. The functions start no
threads and release the interpreter's lock.

Loops are split where a part of them can be vectorised: picking by index, and adding to tables, cannot.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from student_trainer.distil.rank_loss.machine_code import compiled

Kernel = Callable[..., None]
"""Called with the first row, the one after the last, and what it works on."""

PARTS = 4
"""A row's table is kept in so many parts: neighbours often share a code, and would wait for each other."""


@compiled
def _encode(similarity: Any, relevant: Any, grid: Any, codes: Any, above: Any) -> None:
    """``Bins.encode``, with e in fixed point; beyond the ends e does not matter."""
    for z in range(len(similarity)):
        depth = grid.top - grid.per_unit * similarity[z]
        code = min(max(np.ceil(depth), grid.zero), grid.last)
        e = min(max(code - depth, grid.zero), grid.one)
        codes[z] = np.uint16(code) + relevant[z] * grid.positive
        above[z] = np.rint(e * grid.scale)


@compiled
def _count(codes: Any, above: Any, unit: Any, table: Any) -> None:
    """Add a row to its table, int64 [PARTS, codes]."""
    whole = len(codes) // PARTS * PARTS
    for z in range(0, whole, PARTS):
        for part in range(PARTS):
            table[part, codes[z + part]] += unit + above[z + part]
    for z in range(whole, len(codes)):
        table[0, codes[z]] += unit + above[z]


@compiled
def _histogram(table: Any, grid: Any, label: Any, positions: Any) -> None:
    """``_histograms`` of a row and label, into ``positions`` [C]; empties that half of the table."""
    last = len(positions)
    positions[:] = 0.0
    for code in range(last + 1):
        place, both = label * (last + 1) + code, 0
        for part in range(PARTS):
            both += table[part, place]
            table[part, place] = 0
        count, upper = np.float64(both >> grid.shift), np.float64(both & (grid.unit - 1)) / grid.scale
        if code > 0:
            positions[code - 1] += count if code == last else upper
        if code < last:
            positions[code] += count if code == 0 else count - upper


@compiled
def _close(table: Any, grid: Any, histograms: Any, slopes: Any) -> Any:
    """``losses_and_slopes`` for a row, with slopes per Delta instead of per unit; empties the table."""
    negatives, positives = histograms
    last = len(positives)
    _histogram(table, grid, 0, negatives)
    _histogram(table, grid, 1, positives)
    slopes[:] = 0.0
    wanted = positives.sum()
    if wanted == 0.0:
        return 0.0
    per_wanted = 1.0 / wanted
    found = seen = total = precision = diluted = 0.0
    for centre in range(last):
        before, diluted_before = precision, diluted
        found += positives[centre]
        seen += positives[centre] + negatives[centre]
        per_seen = 1.0 / seen if seen > 0.0 else 0.0
        precision, diluted = found * per_seen, positives[centre] * per_seen
        total += precision * positives[centre]
        if centre > 0:  # between the centre before and this one
            slopes[centre] = diluted_before * before * per_wanted
            slopes[last + 1 + centre] = (diluted_before * (before - 1.0) + precision - before) * per_wanted
    return 1.0 - total * per_wanted


@compiled
def _pick(student: Any, teacher: Any, places: Any, student_there: Any, teacher_there: Any) -> None:
    for z in range(len(places)):
        student_there[z] = student[places[z]]
        teacher_there[z] = teacher[places[z]]


@compiled
def count_originals(start: Any, stop: Any, batch: Any, grid: Any) -> None:
    """Originals in the lists of originals, in every round the same: fills ``tables``."""
    images = len(batch.similarity)
    relevant, codes = np.empty(images, np.uint16), np.empty(images, np.uint16)
    above, table = np.empty(images, grid.fixed.dtype), np.zeros((PARTS, batch.tables.shape[1]), np.int64)
    for o in range(start, stop):
        for z in range(images):
            relevant[z] = batch.teacher_similarity[o, z] > grid.tau
        _encode(batch.similarity[o], relevant, grid, codes, above)
        _count(codes, above, grid.unit, table)
        if not grid.include_self:
            table[0, codes[o]] -= grid.unit + above[o]
        batch.tables[o] = table.sum(0)
        table[:] = 0


@compiled
def rank_originals(start: Any, stop: Any, batch: Any, mixing: Any, grid: Any) -> None:
    """A round's lists of originals: their losses and slopes, and ``near`` and ``codes`` of mixtures."""
    images, width = len(batch.similarity), batch.tables.shape[1]
    relevant, above = np.empty(images, np.uint16), np.empty(images, grid.fixed.dtype)
    table, slopes = np.zeros((PARTS, width), np.int64), np.empty(width)
    histograms = (np.empty(width // 2 - 1), np.empty(width // 2 - 1))
    mixed = np.empty(images, batch.similarity.dtype)
    student_there, teacher_there = np.empty_like(mixed), np.empty_like(mixed)
    for o in range(start, stop):
        student, teacher, near = batch.similarity[o], batch.teacher_similarity[o], batch.near[o]
        excluded = np.uint32(images if grid.include_self else o)
        _pick(student, teacher, mixing.partners, student_there, teacher_there)
        for k in range(images):
            mixed[k] = mixing.own[k] * student[k] + mixing.other[k] * student_there[k]
        for k in range(images):
            by_teacher = mixing.teacher_own[k] * teacher[k] + mixing.teacher_other[k] * teacher_there[k]
            to_own = (teacher[k] > grid.tau) & (np.uint32(k) != excluded)
            to_other = (teacher_there[k] > grid.tau) & (mixing.partners[k] != excluded)
            near[k] = by_teacher > grid.tau
            relevant[k] = (by_teacher > grid.tau) | (grid.label_mixed & (to_own | to_other))
        _encode(mixed, relevant, grid, batch.codes[o], above)
        table[0] = batch.tables[o]
        _count(batch.codes[o], above, grid.unit, table)
        batch.losses[o] = _close(table, grid, histograms, slopes)
        batch.slopes[o] = slopes
        batch.total_slopes[o] += slopes


@compiled
def rank_mixtures(start: Any, stop: Any, batch: Any, mixing: Any, grid: Any) -> None:
    """A round's lists of mixtures: their losses and slopes, and ``square_codes`` if these have room."""
    images, width = len(batch.similarity), batch.tables.shape[1]
    relevant, codes = np.empty(images, np.uint16), np.empty(images, np.uint16)
    above, table = np.empty(images, grid.fixed.dtype), np.zeros((PARTS, width), np.int64)
    histograms = (np.empty(width // 2 - 1), np.empty(width // 2 - 1))
    slopes = np.empty(width)
    mixed, squared = np.empty(images, batch.similarity.dtype), np.empty(images, batch.similarity.dtype)
    by_teacher, mixed_there, teacher_there = np.empty_like(mixed), np.empty_like(mixed), np.empty_like(mixed)
    for k in range(start, stop):
        p = mixing.partners[k]
        student, student_other = batch.similarity[k], batch.similarity[p]
        teacher, teacher_other = batch.teacher_similarity[k], batch.teacher_similarity[p]
        excluded = np.uint32(images if grid.include_self else k)
        excluded_other = np.uint32(images) if grid.include_self else p
        for o in range(images):
            mixed[o] = mixing.own[k] * student[o] + mixing.other[k] * student_other[o]
        for o in range(images):
            by_teacher[o] = mixing.teacher_own[k] * teacher[o] + mixing.teacher_other[k] * teacher_other[o]
            to_own = (teacher[o] > grid.tau) & (np.uint32(o) != excluded)
            to_other = (teacher_other[o] > grid.tau) & (np.uint32(o) != excluded_other)
            relevant[o] = (by_teacher[o] > grid.tau) | (grid.label_mixed & (to_own | to_other))
        _encode(mixed, relevant, grid, codes, above)
        _count(codes, above, grid.unit, table)

        _pick(mixed, by_teacher, mixing.partners, mixed_there, teacher_there)
        near, near_other = batch.near[k], batch.near[p]
        for m in range(images):
            squared[m] = mixing.own[m] * mixed[m] + mixing.other[m] * mixed_there[m]
        for m in range(images):
            both = mixing.teacher_own[m] * by_teacher[m] + mixing.teacher_other[m] * teacher_there[m]
            parent = (by_teacher[m] > grid.tau) | (teacher_there[m] > grid.tau) | near[m] | near_other[m]
            relevant[m] = (both > grid.tau) | (grid.label_mixed & parent)
        squared[k], relevant[k] = grid.one, 1
        _encode(squared, relevant, grid, codes, above)
        _count(codes, above, grid.unit, table)
        if not grid.include_self:
            table[0, codes[k]] -= grid.unit + above[k]
        if len(batch.square_codes):
            batch.square_codes[k] = codes
        batch.mixed_losses[k] = _close(table, grid, histograms, slopes)
        batch.mixed_slopes[k] = slopes


@compiled
def follow_mixtures(start: Any, stop: Any, batch: Any, mixing: Any) -> None:
    """Add (W^T H)^T: derivatives in mixtures, as coefficients of the originals that they consist of."""
    images = len(batch.codes)
    row = np.empty(images, batch.slopes.dtype)
    for o in range(start, stop):
        into, slopes, codes = batch.coefficients[o], batch.slopes[o], batch.codes[o]
        for k in range(images):
            row[k] = slopes[codes[k]] + batch.mixed_slopes[k, codes[k]]
        for k in range(images):
            into[k] += mixing.own[k] * row[k]
        for k in range(images):
            row[k] *= mixing.other[k]
        for k in range(images):
            into[mixing.partners[k]] += row[k]


@compiled
def close_batch(start: Any, stop: Any, batch: Any, grid: Any) -> None:
    """Add what originals give to originals, in all rounds at once; clear the diagonal."""
    images = len(batch.similarity)
    relevant, codes = np.empty(images, np.uint16), np.empty(images, np.uint16)
    above = np.empty(images, grid.fixed.dtype)
    for o in range(start, stop):
        into, slopes = batch.coefficients[o], batch.total_slopes[o]
        for z in range(images):
            relevant[z] = batch.teacher_similarity[o, z] > grid.tau
        _encode(batch.similarity[o], relevant, grid, codes, above)
        for z in range(images):
            into[z] += slopes[codes[z]] + batch.total_slopes[z, codes[z]]
        into[o] = 0.0
