"""The stack machine that a pickle is a program for, with the operations that plain data needs.

In: the bytes of a pickle, and bounds. Out: the value that the program leaves, or
:class:`~student_trainer.datasets.pickled_numpy.Refused`. Operations are decoded by :mod:`pickletools` and
carried out here; none of them calls anything but what :mod:`student_trainer.datasets.pickled_numpy` offers.
"""

import io
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from student_trainer.datasets.pickled_keys import Refused, add, fill
from student_trainer.datasets.pickled_numpy import Name, Unbuilt, name_of


@dataclass(frozen=True)
class Bounds:
    """What a file may cost. The defaults leave room for ten times the largest public ground truth."""

    file_bytes: int = 128_000_000
    operations: int = 8_000_000
    """At most about 100 bytes are held for each."""
    containers: int = 2_000_000
    copied_bytes: int = 256_000_000
    """Made anew from what the file holds once, such as sets from lists."""


_INTEGER_BITS = 64
_NOTHING = object()
"""In a place of the memo that was passed over."""


class Machine:
    """For one pickle."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._stack: list[Any] = []
        self._marks: list[int] = []
        # No dictionary: places may be chosen so that each falls on the ones before.
        self._memo: list[Any] = []
        self._memoized = 0
        self._operations = 0
        self._containers = 0
        self._copied = 0

    def run(self, data: bytes) -> Any:
        """Carry out the program and return what it leaves on the stack.

        Raises:
            Refused: it is damaged, over the bounds, or needs more than plain data does.
            AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError: it is damaged.
        """
        for name, argument in _operations(data):
            self._operations += 1
            if self._operations > self._bounds.operations:
                raise Refused(f"it takes more than {self._bounds.operations:,} operations")
            if name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _LITERALS:
                self._stack.append(_literal(argument))
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            else:
                raise Refused(f"it uses the operation {name}, which plain data does not need")
        return self._stack.pop()

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        """Everything above the last mark, which goes too."""
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def pop(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()  # protocol 0 takes back a mark in this way
        else:
            self._stack.pop()

    def pop_mark(self, _: Any) -> None:
        self.since_mark()

    def duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def put(self, index: int) -> None:
        value = self._stack[-1]
        # Whoever writes a pickle counts the values that it keeps, and each takes an operation to make.
        if not 0 <= index <= self._operations:
            raise Refused(f"it is damaged: value number {index} is kept as operation {self._operations}")
        self._memo.extend([_NOTHING] * (index + 1 - len(self._memo)))
        self._memoized += self._memo[index] is _NOTHING
        self._memo[index] = value
        if isinstance(value, Unbuilt):
            value.places.append(index)

    def memoize(self, _: Any) -> None:
        self.put(self._memoized)

    def get(self, index: int) -> None:
        if not 0 <= index < len(self._memo) or self._memo[index] is _NOTHING:
            raise Refused("it is cut or damaged: a kept value is asked for before it is there")
        self._stack.append(self._memo[index])

    def push_container(self, container: Any) -> None:
        self._containers += 1
        if self._containers > self._bounds.containers:
            raise Refused(f"it holds more than {self._bounds.containers:,} containers")
        self._stack.append(container)

    def tuple_of(self, length: int) -> None:
        if len(self._stack) < length:
            raise Refused("it is damaged: a tuple of more than there is")
        values = tuple(self._stack[len(self._stack) - length :])
        del self._stack[len(self._stack) - length :]
        self.push_container(values)

    def append(self, _: Any) -> None:
        value = self._stack.pop()
        _expect(self._stack[-1], list).append(value)

    def appends(self, _: Any) -> None:
        values = self.since_mark()
        _expect(self._stack[-1], list).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        fill(_expect(self._stack[-1], dict), [key, value])

    def set_items(self, _: Any) -> None:
        values = self.since_mark()
        fill(_expect(self._stack[-1], dict), values)

    def add_items(self, _: Any) -> None:
        values = self.since_mark()
        add(_expect(self._stack[-1], set), values)

    def name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(name_of(module, name))

    def stack_name(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(name_of(_expect(module, str), _expect(name, str)))

    def reduce(self, _: Any) -> None:
        arguments, called = _expect(self._stack.pop(), tuple), self._stack.pop()
        if not isinstance(called, Name):
            raise Refused(f"it calls a value of type {type(called).__name__}")
        self.push_container(called.call(arguments, self._spend))

    def build(self, _: Any) -> None:
        state, shell = self._stack.pop(), self._stack.pop()
        if not isinstance(shell, Unbuilt):
            raise Refused(f"it sets the state of a value of type {type(shell).__name__}")
        built = shell.build(state, self._spend)
        # A numpy array is known to the memo before its content is.
        for place in shell.places:
            self._memo[place] = built
        shell.places.clear()  # or each of many copies of it would go through all of them
        self._stack.append(built)

    def _spend(self, copied_bytes: int) -> None:
        self._copied += copied_bytes
        if self._copied > self._bounds.copied_bytes:
            raise Refused(f"what it builds takes more than {self._bounds.copied_bytes:,} bytes")


_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    )
)
_ACTIONS: Mapping[str, Callable[[Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.pop_mark,
    "DUP": Machine.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
    "MEMOIZE": Machine.memoize,
    "EMPTY_LIST": lambda machine, _: machine.push_container([]),
    "LIST": lambda machine, _: machine.push_container(machine.since_mark()),
    "APPEND": Machine.append,
    "APPENDS": Machine.appends,
    "EMPTY_TUPLE": lambda machine, _: machine.tuple_of(0),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push_container(tuple(machine.since_mark())),
    "EMPTY_DICT": lambda machine, _: machine.push_container({}),
    "DICT": lambda machine, _: machine.push_container(fill({}, machine.since_mark())),
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "EMPTY_SET": lambda machine, _: machine.push_container(set()),
    "ADDITEMS": Machine.add_items,
    "FROZENSET": lambda machine, _: machine.push_container(frozenset(add(set(), machine.since_mark()))),
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": Machine.stack_name,
    "REDUCE": Machine.reduce,
    "BUILD": Machine.build,
}


def _operations(data: bytes) -> Iterator[tuple[str, Any]]:
    for operation, argument, _ in pickletools.genops(io.BytesIO(data)):
        yield operation.name, argument


def _literal(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        raise Refused(f"it holds an integer of {value.bit_length():,} bits")
    return bytes(value) if isinstance(value, bytearray) else value


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Refused(f"it is damaged: a {type(value).__name__} where a {kind.__name__} should be")
    return value
