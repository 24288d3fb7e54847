"""The refusals of the admin API: leaves of the one tree, each with a status and a code of its own."""

import inspect

from gateway.admin import errors
from gateway.admin.api import REFUSALS
from gateway.contracts.errors import RequestError

LEAVES = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, RequestError) and each is not RequestError
]


def test_each_has_a_code_of_its_own_and_a_status_that_is_described() -> None:
    assert len({each.code for each in LEAVES}) == len(LEAVES) == 6
    assert {each.status for each in LEAVES} <= set(REFUSALS)
