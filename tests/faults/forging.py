"""What somebody can do to a ledger who may write to it: edit lines, recompute sums, and hash chains anew.

In: an export that holds. Out: exports that differ, some of which agree with themselves. A forger here has
every power but one: he cannot change the receipts in a client's hands, nor sign in the service's name what
the service itself would not sign.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.chain import ZERO_HASH, Link, canonical_record, chain_hash, verify_chain
from shared.digest import canonical_json

Line = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """An export, as its lines of JSON; the last line is made when it is written."""

    lines: tuple[Line, ...]

    @classmethod
    def of(cls, data: bytes) -> "Document":
        """Read an export."""
        return cls(tuple(orjson.loads(line) for line in data.splitlines())[:-1])

    def sealed(self) -> bytes:
        """As bytes, with a last line that fits."""
        body = b"".join(canonical_json(line) + b"\n" for line in self.lines)
        kinds = [line["kind"] for line in self.lines]
        end = {
            "kind": "end",
            "keys": kinds.count("key"),
            "records": kinds.count("record"),
            "digest": hashlib.sha256(body).hexdigest(),
        }
        return body + canonical_json(end) + b"\n"

    @property
    def record_places(self) -> list[int]:
        """Of the lines that hold records."""
        return [place for place, line in enumerate(self.lines) if line["kind"] == "record"]

    @property
    def key_ids(self) -> list[str]:
        """In the order of the file."""
        return [line["key_id"] for line in self.lines if line["kind"] == "key"]

    def records(self, key_id: str) -> list[Mapping[str, Any]]:
        """The records of a key."""
        of_records = [line["record"] for line in self.lines if line["kind"] == "record"]
        return [record for record in of_records if record["key_id"] == key_id]

    def without(self, *places: int) -> "Document":
        """Some lines left out."""
        return Document(tuple(line for place, line in enumerate(self.lines) if place not in places))

    def with_line(self, place: int, line: Line) -> "Document":
        """One line replaced."""
        return Document((*self.lines[:place], line, *self.lines[place + 1 :]))

    def with_inserted(self, place: int, lines: Iterable[Line]) -> "Document":
        """Lines put in before one."""
        return Document((*self.lines[:place], *lines, *self.lines[place:]))

    def swapped(self, first: int, second: int) -> "Document":
        """Two lines in each other's place."""
        return self.with_line(first, self.lines[second]).with_line(second, self.lines[first])

    def with_chain(self, key_id: str, links: Sequence[Link]) -> "Document":
        """A key's records replaced, and its line made to agree with them."""
        account = verify_chain(links)
        stated = {
            "name": account.name,
            "billing": account.billing,
            "budget": account.budget,
            "window": account.window,
            "used": account.used,
            "revoked": account.revoked,
            "records": len(links),
            "head": account.head,
        }
        lines: list[Line] = []
        for line in self.lines:
            if line["kind"] == "key" and line["key_id"] == key_id:
                lines.append({**line, **stated})
                lines.extend({"kind": "record", "hash": link.hash, "record": link.record} for link in links)
            elif line["kind"] != "record" or line["record"]["key_id"] != key_id:
                lines.append(line)
        return Document(tuple(lines))


def chained_anew(records: Iterable[Mapping[str, Any]]) -> list[Link]:
    """A chain over any records: numbers, sums and hashes made to fit."""
    links: list[Link] = []
    used, budget, head = 0, 0, ZERO_HASH
    for seq, old in enumerate(records):
        record = {**old, "seq": seq}
        match record["kind"]:
            case "genesis":
                budget = record["budget"]
            case "grant":
                budget = record["budget_after"] = budget + record["amount"]
            case "settle":
                charged = sum(item["charged"] for item in record["items"])
                used += charged
                record |= {
                    "charged": charged,
                    "replayed": len(record["items"]) - charged,
                    "used_after": used,
                }
        head = chain_hash(head, canonical_record(record))
        links.append(Link(record, head))
    return links
