"""The nearest known words to one that is not known, as refusals offer them.

In: a word and those that would be right. Out: a half sentence with a space before it.
"""

from collections.abc import Iterable
from difflib import get_close_matches

_MIN_SIMILARITY = 0.5
_MANY = 4


def nearest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'epochs'?``, or nothing if no known word is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=_MIN_SIMILARITY)
    return f" Did you mean {close[0]!r}?" if close else ""


def nearest_or_all(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'triplet' or 'asym-triplet'?``, up to four; all of them if none is close.

    Those that begin with the word or contain it come first.
    """
    known = sorted(known)
    containing = sorted(
        (name for name in known if word and word in name), key=lambda name: name.find(word) > 0
    )
    close = get_close_matches(word, known, n=_MANY)
    near = [repr(name) for name in dict.fromkeys([*containing, *close])][:_MANY]
    either = " or ".join([", ".join(near[:-1]), near[-1]] if near[1:] else near)
    return f" Did you mean {either}?" if near else f" Choose one of: {', '.join(known)}."
