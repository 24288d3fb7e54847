"""The scripts are held by the laws of `test_budget_book.py`; here, that they name every key they touch."""

import re

from gateway.stores.budget_scripts import CORRECT, LOAD, RESERVE, SETTLE


def test_every_key_that_a_script_touches_is_one_that_it_was_given() -> None:
    for script in (RESERVE, SETTLE, LOAD, CORRECT):
        calls = re.findall(r"redis\.call\('(\w+)'(?:, ([^,)]+))?", script)
        assert calls
        assert all(key.startswith("KEYS[") for command, key in calls if command != "TIME"), calls
