"""A request of the ledger, decided again, as programs get it; `test_explained.py` has what people get."""

import json

import msgspec

from gateway.admin import requests
from gateway.policy.decisions import Decided, Routed, Ruled, encode
from gateway.policy.routing import POLICIES, Ask, Candidate

SEEN = (Candidate("r0", 1.0, 3, 900, 0, 0.5, 0), Candidate("r1", 1.0, 1, 400, 512, None, 0))
ASK = Ask(tokens=600, turn=7, draw=12)
VALUES = {
    "request_id": "tg-1", "started_at": 1.0, "model": "faq", "release": "faq@1", "replica": "r1", "attempts": 1,
    "outcome": "completed", "decision": None,
}  # fmt: skip


def _routed(position: int) -> Decided[Ruled]:
    choice = POLICIES["score"](SEEN, ASK)
    return Decided(config="sha256:c", routes=[Routed("score", SEEN, ASK, position, choice.reason)])


def test_the_same_inputs_come_to_the_same_and_something_else_is_told() -> None:
    right = POLICIES["score"](SEEN, ASK).position
    for position, same in ((right, True), (1 - right, False)):
        found = requests.again({**VALUES, "decision": encode(_routed(position))}, None, None)
        told = json.loads(json.dumps(requests.as_json(found)))
        assert (told["same"], told["config_digest"]) == (same, "sha256:c")
        assert told["routes"][0]["again"] == SEEN[right].name
        assert [each["name"] for each in told["routes"][0]["candidates"]] == ["r0", "r1"]


def test_what_engines_said_stands_beside_what_it_counted_for() -> None:
    for waiting in ((5, 9), (5, None)):
        seen = [msgspec.structs.replace(each, waiting=said) for each, said in zip(SEEN, waiting, strict=True)]
        choice = POLICIES["score"](seen, ASK)
        decided = Decided[Ruled](routes=[Routed("score", tuple(seen), ASK, choice.position, choice.reason)])
        told = requests.as_json(requests.again({**VALUES, "decision": encode(decided)}, None, None))
        candidates = told["routes"][0]["candidates"]
        assert tuple(each["waiting"] for each in candidates) == waiting
        assert [each["queue"] for each in candidates] == ([None, None] if None in waiting else [600 * 2, 600 * 8])


def test_where_there_was_nothing_to_decide_it_is_the_same() -> None:
    found = requests.as_json(requests.again(VALUES, None, None))
    assert (found["same"], found["rules"], found["routes"], found["config_digest"]) == (True, [], [], None)
