"""What a process settled lately decides how a replay is found, never what is charged."""

from collections.abc import Callable
from typing import Any

from teacher_service.metering.ledger import Reservation
from teacher_service.metering.sqlite.lately import SettledLately


def asked(*images: str, key: str = "k", revision: str = "r") -> Reservation:
    return Reservation(key, "request", revision, images)


def test_it_knows_what_was_settled_for_the_same_key_and_revision() -> None:
    lately = SettledLately()
    lately.add(asked("a", "b"))
    assert lately.has_all(asked("b", "a"))
    assert not lately.has_all(asked("a", "c"))
    assert not lately.has_all(asked("a", key="another"))
    assert not lately.has_all(asked("a", revision="retrained"))


def test_the_oldest_is_forgotten_first() -> None:
    lately = SettledLately(most_images=2)
    for image in "abc":
        lately.add(asked(image))
    assert [lately.has_all(asked(image)) for image in "abc"] == [False, True, True]


def test_a_replay_of_what_another_process_settled_is_free_all_the_same(
    make_desk: Callable[..., Any], path: Any, clock: Any
) -> None:
    first = make_desk(path, clock)
    key = first.new_key(budget=2)
    first.buy(key, "a", "b")
    first.close()
    second = make_desk(path, clock)
    for _ in range(2):  # the first is found by the writer, the second by the look before it
        again = second.buy(key, "a", "b")
        assert (again.charged, again.replayed, again.used_after) == (0, 2, 2)
    assert second.account(key).held == 0
