"""The rank distillation loss tile by tile, compiled by Triton for the GPU at hand.

In: similarity matrices, the rounds' mixing weights, partners and the bins. Out: tables of whole numbers, and
derivatives in similarities.

A tile relates mixtures k to originals m and to mixtures m. All of that follows from four places in each
similarity matrix, (k, m), (r_k, m), (k, r_m) and (r_k, r_m), so nothing is kept between the kernels. Tables
are added to with atomic operations on int64 (``FixedPoint``): their order is left to the device, and does
not matter. One addition carries both the count and e; what it costs does not depend on the number of bins.

Sizes are powers of two, masks cut them to the batch, and rows are numbered in int64.
"""

import triton
import triton.language as tl

LAUNCH = {"TILE": 32, "num_warps": 8}
"""Four similarities for each thread; with eight, a multiprocessor has registers for half as many threads."""


@triton.jit
def _place(n, TILE: tl.constexpr):
    """Rows [TILE, 1] and columns [1, TILE] of this program's tile, and what of it is within the matrix."""
    rows = (tl.program_id(0) * TILE + tl.arange(0, TILE))[:, None]
    columns = (tl.program_id(1) * TILE + tl.arange(0, TILE))[None, :]
    return rows, columns, (rows < n) & (columns < n)


@triton.jit
def _at(matrix, rows, columns, width, inside):
    return tl.load(matrix + rows.to(tl.int64) * width + columns, mask=inside, other=0)


@triton.jit
def _encode(similarity, relevant, settings, positive):
    """``Bins.encode``: the code, and what to add to its place in the table, less one unit."""
    per_unit, top, last = tl.load(settings), tl.load(settings + 1), tl.load(settings + 2)
    scale, rounding = tl.load(settings + 4), tl.load(settings + 5)
    depth = top - per_unit * similarity
    code = tl.minimum(tl.maximum(tl.ceil(depth), 0.0), last)
    above = tl.minimum(tl.maximum(code - depth, 0.0), 1.0)
    return code.to(tl.int32) + tl.where(relevant, positive, 0), (above * scale + rounding).to(tl.int64)


@triton.jit
def _relate_originals(student, teacher, settings, n, rows, columns, inside, positive):
    tau = tl.load(settings + 3)
    relevant = _at(teacher, rows, columns, n, inside) > tau
    return _encode(_at(student, rows, columns, n, inside), relevant, settings, positive)


@triton.jit
def _relate_mixtures(
    student,
    teacher,
    partners,
    weights,
    settings,
    n,
    k,
    m,
    inside,
    positive,
    LABEL_MIXED: tl.constexpr,
    INCLUDE_SELF: tl.constexpr,
):
    """Codes and what to add, of mixtures k to originals m, and to mixtures m."""
    tau = tl.load(settings + 3)
    p, r = tl.load(partners + k, mask=k < n, other=0), tl.load(partners + m, mask=m < n, other=0)
    own_k, other_k = tl.load(weights + k, mask=k < n, other=0), tl.load(weights + n + k, mask=k < n, other=0)
    own_m, other_m = tl.load(weights + m, mask=m < n, other=0), tl.load(weights + n + m, mask=m < n, other=0)
    to_original = own_k * _at(student, k, m, n, inside) + other_k * _at(student, p, m, n, inside)
    to_partner = own_k * _at(student, k, r, n, inside) + other_k * _at(student, p, r, n, inside)
    to_mixture = tl.where(k == m, 1.0, own_m * to_original + other_m * to_partner)

    weights += 2 * n
    own_k, other_k = tl.load(weights + k, mask=k < n, other=0), tl.load(weights + n + k, mask=k < n, other=0)
    own_m, other_m = tl.load(weights + m, mask=m < n, other=0), tl.load(weights + n + m, mask=m < n, other=0)
    km, pm = _at(teacher, k, m, n, inside), _at(teacher, p, m, n, inside)
    kr, pr = _at(teacher, k, r, n, inside), _at(teacher, p, r, n, inside)
    by_original, by_partner = own_k * km + other_k * pm, own_k * kr + other_k * pr
    near_original = by_original > tau
    near_mixture = own_m * by_original + other_m * by_partner > tau
    if LABEL_MIXED:
        from_k, from_p = own_m * km + other_m * kr > tau, own_m * pm + other_m * pr > tau
        near_mixture = near_mixture | near_original | (by_partner > tau) | from_k | from_p
        if INCLUDE_SELF:
            near_original = near_original | (km > tau) | (pm > tau)
        else:
            near_original = near_original | ((km > tau) & (k != m)) | ((pm > tau) & (p != m))
    near_mixture = near_mixture | (k == m)
    code, above = _encode(to_original, near_original, settings, positive)
    mixed_code, mixed_above = _encode(to_mixture, near_mixture, settings, positive)
    return code, above, mixed_code, mixed_above


@triton.jit
def _add(tables, rows, width, code, value, mask):
    tl.atomic_add(tables + rows.to(tl.int64) * width + code, value, mask=mask, sem="relaxed")


@triton.jit
def count_originals(
    student,
    teacher,
    settings,
    tables,
    n,
    width,
    positive,
    unit,
    INCLUDE_SELF: tl.constexpr,
    TILE: tl.constexpr,
):
    """Originals in the lists of originals: adds to ``tables`` [n, width]."""
    rows, columns, inside = _place(n, TILE)
    code, above = _relate_originals(student, teacher, settings, n, rows, columns, inside, positive)
    listed = inside if INCLUDE_SELF else inside & (rows != columns)
    _add(tables, rows, width, code, unit + above, listed)


@triton.jit
def count_mixtures(
    student,
    teacher,
    partners,
    weights,
    settings,
    tables,
    n,
    width,
    positive,
    unit,
    LABEL_MIXED: tl.constexpr,
    INCLUDE_SELF: tl.constexpr,
    TILE: tl.constexpr,
):
    """What a round adds to the lists of originals and of mixtures: ``tables`` [rounds, 2 n, width]."""
    k, m, inside = _place(n, TILE)
    turn = tl.program_id(2).to(tl.int64)
    code, above, mixed_code, mixed_above = _relate_mixtures(
        student,
        teacher,
        partners + turn * n,
        weights + turn * 4 * n,
        settings,
        n,
        k,
        m,
        inside,
        positive,
        LABEL_MIXED,
        INCLUDE_SELF,
    )
    tables += turn * 2 * n * width
    _add(tables, m, width, code, unit + above, inside)
    _add(tables, n + k, width, code, unit + above, inside)
    listed = inside if INCLUDE_SELF else inside & (k != m)
    _add(tables, n + k, width, mixed_code, unit + mixed_above, listed)


@triton.jit
def slopes_to_originals(student, teacher, settings, slopes, result, n, width, positive, TILE: tl.constexpr):
    """Derivatives in the similarities of originals: fills ``result`` [n, n]; its diagonal is 0."""
    rows, columns, inside = _place(n, TILE)
    code, _ = _relate_originals(student, teacher, settings, n, rows, columns, inside, positive)
    both = _at(slopes, rows, code, width, inside)
    both += tl.load(slopes + columns.to(tl.int64) * width + code, mask=inside, other=0)
    tl.store(result + rows.to(tl.int64) * n + columns, tl.where(rows == columns, 0.0, both), mask=inside)


@triton.jit
def slopes_to_mixtures(
    student,
    teacher,
    partners,
    weights,
    settings,
    slopes,
    result,
    mixed_result,
    n,
    width,
    positive,
    LABEL_MIXED: tl.constexpr,
    INCLUDE_SELF: tl.constexpr,
    THROUGH: tl.constexpr,
    TILE: tl.constexpr,
):
    """Derivatives in mixtures to originals, and if ``THROUGH`` to mixtures: fills [rounds, n, n] of each."""
    k, m, inside = _place(n, TILE)
    turn = tl.program_id(2).to(tl.int64)
    code, _, mixed_code, _ = _relate_mixtures(
        student,
        teacher,
        partners + turn * n,
        weights + turn * 4 * n,
        settings,
        n,
        k,
        m,
        inside,
        positive,
        LABEL_MIXED,
        INCLUDE_SELF,
    )
    slopes += turn * 2 * n * width
    place = turn * n * n + k.to(tl.int64) * n + m
    both = _at(slopes, n + k, code, width, inside) + _at(slopes, m, code, width, inside)
    tl.store(result + place, both, mask=inside)
    if THROUGH:
        both = _at(slopes, n + k, mixed_code, width, inside) + _at(slopes, n + m, mixed_code, width, inside)
        tl.store(mixed_result + place, tl.where(k == m, 0.0, both), mask=inside)
