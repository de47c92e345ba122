"""The errors of a ledger are all drawn where one looks for them."""

import importlib
import pkgutil
import re

import teacher_service.metering
from teacher_service.metering import archive
from teacher_service.metering.ledger import LedgerError


def test_every_error_of_a_ledger_is_drawn_under_the_one_that_it_is_a_case_of() -> None:
    for module in pkgutil.walk_packages(teacher_service.metering.__path__, "teacher_service.metering."):
        importlib.import_module(module.name)
    drawn = re.findall(r"^([ │├└─]*)(\w+)  ", LedgerError.__doc__ or "", re.M)
    parents: dict[str, str] = {}
    path = {len("        "): "LedgerError"}
    for lead, name in drawn:
        path = {column: parent for column, parent in path.items() if column < len(lead)}
        parents[name] = path[max(path)]
        path[len(lead)] = name
    assert parents == {error.__name__: error.__base__.__name__ for error in cases_of(LedgerError)}


def cases_of(error: type) -> list[type]:
    direct = error.__subclasses__()
    return direct + [case for child in direct for case in cases_of(child)]


def test_what_audits_and_imports_refuse_is_drawn_beside_what_they_are_defined_in() -> None:
    for error in (archive.LedgerInvalid, archive.LedgerNotEmpty):
        assert re.search(rf"^    {error.__name__}  ", archive.__doc__ or "", re.M)
