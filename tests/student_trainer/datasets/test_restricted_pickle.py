"""Pickles of strangers: what plain data they hold is read, anything else is refused and nothing is run."""

import collections
import datetime
import os
import pickle
import struct
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from student_trainer.datasets.pickle_machine import Bounds
from student_trainer.datasets.pickled_keys import Refused
from student_trainer.datasets.restricted_pickle import loads, read_plain_pickle
from student_trainer.errors import InvalidInput

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
KEYS = st.text(max_size=5) | st.binary(max_size=5)
PLAIN = st.recursive(
    NUMBERS | st.none() | st.booleans() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=3)
        | st.frozensets(st.text(max_size=3), max_size=3)
    ),
    max_leaves=12,
)
ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.array([True, False]),
    np.array([1.5, -2], dtype=np.float16),
    np.array([1 + 2j]),
    np.array(["ab", "cde"]),
    np.array([b"ab", b"cde"]),
    np.zeros((0, 3), dtype=np.uint8),
    np.array(7),
]
NUMPY_1_NAME, NUMPY_2_NAME = b"numpy.core.multiarray", b"numpy._core.multiarray"


@settings(max_examples=80)
@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_data_comes_back_as_it_was(value: Any, protocol: int) -> None:
    found = loads(pickle.dumps(value, protocol))
    assert found == value
    assert repr(found) == repr(pickle.loads(pickle.dumps(value, protocol)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back_with_type_shape_and_values(array: np.ndarray, protocol: int) -> None:
    found = loads(pickle.dumps({"one": array, "again": [array, array]}, protocol))
    for copy in (found["one"], *found["again"]):
        assert isinstance(copy, np.ndarray)
        assert (copy.dtype, copy.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(copy, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_come_back_with_their_type(protocol: int) -> None:
    scalars = [np.int64(-4), np.float32(2.5), np.bool_(True), np.str_("name"), np.int64(-4)]
    found = loads(pickle.dumps(scalars, protocol))
    assert [(type(value), value) for value in found] == [(type(value), value) for value in scalars]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_row_of_objects_comes_back_as_a_list(protocol: int) -> None:
    assert loads(pickle.dumps(np.array(["a", None, 2], dtype=object), protocol)) == ["a", None, 2]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_written_under_numpy_1_and_numpy_2_are_read_alike(protocol: int) -> None:
    written = pickle.dumps([np.arange(3), np.float64(0.5)], protocol)
    for before, after in ((NUMPY_1_NAME, NUMPY_2_NAME), (NUMPY_2_NAME, NUMPY_1_NAME)):
        # From protocol 4 on, a name stands after its length.
        other = written.replace(
            b"\x8c" + bytes([len(before)]) + before, b"\x8c" + bytes([len(after)]) + after
        )
        found = loads(other.replace(b"c" + before, b"c" + after))
        assert (found[0].tolist(), found[1]) == ([0, 1, 2], 0.5)


def test_an_array_written_by_python_2_is_read() -> None:
    """There bytes were text, and stood in the file as such."""
    written = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x04\x01\x00\xff\x00tb."
    )
    assert pickle.loads(written, encoding="latin1").tolist() == [1, 255]  # it is what we say it is
    assert loads(written).tolist() == [1, 255]


class Runs:
    """An object that wants a function called when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_would_run_code_is_refused_by_name_and_nothing_happens(
    tmp_path: Path, protocol: int
) -> None:
    made = tmp_path / "made"
    (tmp_path / "gnd.pkl").write_bytes(pickle.dumps({"gnd": [Runs(os.mkdir, str(made))]}, protocol))
    with pytest.raises(
        InvalidInput, match=r"gnd\.pkl is refused: it names (posix|nt)\.mkdir\. .*nothing in it was run"
    ):
        read_plain_pickle(tmp_path / "gnd.pkl")
    assert not made.exists()
    pickle.loads((tmp_path / "gnd.pkl").read_bytes())
    assert made.exists()  # so the file was dangerous indeed


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("value", "offender"),
    [
        (collections.OrderedDict(a=1), "OrderedDict"),
        (datetime.date(2020, 1, 1), "datetime.date"),
        (PurePosixPath("a"), "PurePosixPath"),
        (1 + 2j, "complex"),
        (Bounds(), "Bounds|_reconstructor"),
        (len, "len"),
        (np.dtype("f4"), "float32"),
        (np.ndarray, "numpy.ndarray"),
        (range(3), "range|xrange"),
        (np.zeros(2, dtype="i4,f4"), "numpy array"),
        (np.array([["a"], [None]], dtype=object), "objects in more than one row"),
        (np.datetime64("2020-01-01"), "type M8"),
        (np.array(["2020"], dtype="M8[s]"), "type M8"),
        ({(1, 2): 3}, "by a value of type tuple"),
        ({frozenset(): 3}, "by a value of type frozenset"),
        ({7: 3}, "by a value of type int"),
        ({0.5: 3}, "by a value of type float"),
        ({7}, "by a value of type int"),
        (frozenset({None}), "by a value of type NoneType"),
        ({"k" * 1_001: 3}, "by a value of 1,001 characters"),
        ({str(number): 0 for number in range(1_001)}, "a dictionary or set of more than 1,000 values"),
        ({str(number) for number in range(1_001)}, "a dictionary or set of more than 1,000 values"),
        (2**64, "an integer of 65 bits"),
        (-(2**10_000), "an integer of 10,001 bits"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_but_plain_data_is_refused_by_name(value: Any, offender: str, protocol: int) -> None:
    with pytest.raises(Refused, match=offender):
        loads(pickle.dumps([value], protocol))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x80\x02P7\n.", "operation PERSID"),
        (b"\x80\x02NQ.", "operation BINPERSID"),
        (b"\x80\x02\x82\x01.", "operation EXT1"),
        (b"(ios\nsystem\n.", "operation INST"),
        (b"(cos\nsystem\no.", "it names os.system"),
        (b"\x80\x02](K\x01R.", "a list where a tuple should be|int where a tuple"),
        (b"\x80\x02K\x05)R.", "calls a value of type int"),
        (b"\x80\x02K\x05N}b.", "sets the state of a value of type NoneType"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "a type that only stands for itself"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.", "a numpy array without content"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "encodes text as rot13"),
        (b"", "cut or damaged"),
        (b".", "cut or damaged"),
        (b"\x80\x02}K\x01K\x02u.", "cut or damaged"),
        (b"\x80\x02}(K\x01u.", "a key without its value"),
        (b"\x80\x02h\x05.", "a kept value is asked for before it is there"),
        (b"Na(g-1\n.", "cut or damaged"),
        (b"Np0\ng-1\n.", "a kept value is asked for before it is there"),
        (b"Np-1\n.", "damaged: value number -1 is kept"),
        (b"\x80\x02NNNq\x030h\x01.", "a kept value is asked for before it is there"),
        (b"\x80\x02\x86.", "a tuple of more than there is"),
        (b"\x80\x02]K\x01K\x02a.", "a int where a list should be"),
    ],
)
def test_programs_that_plain_data_does_not_need_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        loads(data)


def test_every_cut_of_a_file_is_refused() -> None:
    data = pickle.dumps({"imlist": ["a", "b"], "gnd": [{"ok": np.arange(3)}]}, 2)
    for length in range(len(data)):
        with pytest.raises(Refused, match="cut or damaged"):
            loads(data[:length])


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 200))
@example(b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", 0)
def test_whatever_is_read_it_is_plain_or_refused(noise: bytes, place: int) -> None:
    whole = pickle.dumps({"a": [1.5, np.arange(3), {"b"}], "c": (None, b"d")}, 2)
    for data in (noise, whole[:place] + noise + whole[place + len(noise) :]):
        try:
            found = loads(data)
        except Refused:
            continue
        assert isinstance(
            found,
            (int, float, str, bytes, type(None), list, tuple, dict, set, frozenset, np.generic, np.ndarray),
        )


def array_of_shape(shape: tuple[int, ...], raw: bytes) -> bytes:
    """A pickled float64 array that claims a shape."""

    class Claims:
        def __reduce__(self) -> Any:
            reconstruct = np.zeros(1).__reduce__()[0]
            return reconstruct, (np.ndarray, shape, b"b"), (1, shape, np.dtype("f8"), False, raw)

    return pickle.dumps(Claims(), 2)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (array_of_shape((10**12,), b""), "damaged: a numpy array of shape"),
        (array_of_shape((2**40, 2**40), b"\x00" * 8), "damaged: a numpy array of shape"),
        (array_of_shape((1,) * 200, b"\x00" * 8), "a shape that cannot be"),
        (array_of_shape((-1,), b"\x00" * 8), "a shape that cannot be"),
        (array_of_shape((0, 2**41), b""), "a shape that cannot be"),
        (array_of_shape((2**100_000,) * 32, b""), "an integer of 100,001 bits"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.", "cut or damaged"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "cut or damaged"),
        (b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", "cut or damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "cut or damaged"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_file_that_claims_much_is_refused_in_little_memory(data: bytes, complaint: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=complaint):
            loads(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_memo_place_far_away_takes_no_memory() -> None:
    """Python's own unpickler makes a table up to the place: over 20 GB here."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="value number 2147483647 is kept as operation 3"):
            loads(b"\x80\x02K\x07r\xff\xff\xff\x7f0j\xff\xff\xff\x7f.")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "bounds", "complaint"),
    [
        (b"\x80\x04(" + b"\x8f" * 101 + b"l.", Bounds(containers=100), "more than 100 containers"),
        (b"\x80\x04(" + b"N" * 200 + b"l.", Bounds(operations=100), "more than 100 operations"),
        (b"\x80\x04(" + b"N" * 200 + b"l.", Bounds(file_bytes=100), "more than 100 bytes"),
        (
            b"\x80\x02U\x64"
            + b"x" * 100
            + b"q\x000]("
            + b"c_codecs\nencode\nh\x00U\x06latin1\x86R" * 50
            + b"e.",
            Bounds(copied_bytes=1_000),
            "takes more than 1,000 bytes",
        ),
        (
            b"\x80\x02](U\x01aU\x01beq\x000](" + b"cbuiltins\nset\nh\x00\x85R" * 50 + b"e.",
            Bounds(copied_bytes=1_000),
            "takes more than 1,000 bytes",
        ),
    ],
    ids=["containers", "operations", "bytes", "copies of text", "copies of sets"],
)
def test_what_a_file_may_cost_is_bounded(data: bytes, bounds: Bounds, complaint: str) -> None:
    loads(data)
    with pytest.raises(Refused, match=complaint):
        loads(data, bounds)


def test_shared_and_self_containing_lists_are_read_in_their_own_size() -> None:
    """Sixty lists that each hold the one before twice would be 2^60 items, were they copied."""
    value: list[Any] = [1]
    for _ in range(60):
        value = [value, value]
    found = loads(pickle.dumps(value, 2))
    assert found[0] is found[1]
    ring: list[Any] = []
    ring.append(ring)
    assert loads(pickle.dumps(ring, 2))[0][0] is not None


def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no\.pkl cannot be read: No such file"):
        read_plain_pickle(tmp_path / "no.pkl")
    (tmp_path / "large.pkl").write_bytes(pickle.dumps("x" * 1000))
    with pytest.raises(InvalidInput, match=r"large\.pkl is refused: it has more than 500 bytes"):
        read_plain_pickle(tmp_path / "large.pkl", Bounds(file_bytes=500))


COLLIDING = 2**61 - 1
"""Python's hash of an integer is its remainder by this: all multiples have one hash."""
SHELL = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
CONTENT = b"(K\x01K\x00\x85cnumpy\ndtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01<NNNtb\x89U\x00t"


def builds_of_one_shell(count: int) -> bytes:
    """An array without content that is kept in many places, and built as many times."""
    places = b"".join(b"r" + struct.pack("<I", place) for place in range(1, count))
    return b"(" + CONTENT + b"q\x00" + SHELL + places + b"2" * count + b"h\x00b0" * count + b"l."


def one_long_key_again_and_again(count: int) -> bytes:
    """Two of them: Python sees at once that one is itself."""
    key = b"X" + struct.pack("<I", 2**23) + b"k" * 2**23
    return b"(" + key + b"q\x00" + key + b"q\x01}(h\x00N" + b"h\x01N" * count + b"ul."


@pytest.mark.parametrize(
    "program",
    [
        lambda count: b"".join(b"Np%d\n0" % (COLLIDING * number) for number in range(count)) + b"N.",
        lambda count: b"(" + b"".join(b"I%d\nN" % (COLLIDING * number) for number in range(count)) + b"d.",
        lambda count: (
            b"\x80\x04\x8f(" + b"".join(b"I%d\n" % (COLLIDING * n) for n in range(count)) + b"\x90."
        ),
        builds_of_one_shell,
        one_long_key_again_and_again,
    ],
    ids=["places of the memo", "keys", "members", "builds", "long keys"],
)
def test_a_file_that_is_made_to_be_slow_is_read_or_refused_at_once(program: Callable[[int], bytes]) -> None:
    """Looked for among all before it, each of so many takes five seconds to a minute here."""
    data = program(30_000)
    began = time.process_time()
    with suppress(Refused):
        loads(data)
    assert time.process_time() - began < 2
