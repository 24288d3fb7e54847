from pathlib import Path

import msgspec
import pytest

from evals.cache import Cache, Identity, NoCache, identity, key
from evals.client import Result
from evals.schema import Answer, Arm, Failure
from gateway.contracts.errors import InputError

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NOW: dict[Arm, Identity | None] = {"candidate": Identity(DIGEST, "engine-1"), "baseline": Identity(OTHER, None)}
BODY = b'{"model":"faq@2","messages":[{"role":"user","content":"q"}],"seed":1}'


def answer(**changed: object) -> Answer:
    values = {
        "text": "x",
        "finish_reason": "stop",
        "fingerprint": "engine-1",
        "release": "faq@2",
        "release_digest": DIGEST,
        "latency_s": 1.5,
        "cost": "0.01",
        "input_tokens": 7,
    }
    return Answer(**values | changed)


class Room:
    """A folder of answers, and what the cache says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()

    def cache(self, now: dict[Arm, Identity | None] = NOW) -> Cache:
        return Cache(self.folder, now, self.said.append)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "answers")


def test_what_was_kept_is_found_again_without_time_and_cost(room: Room) -> None:
    room.cache().put("candidate", 0, BODY, Result(answer=answer()))
    found = room.cache().get("candidate", 0, BODY)
    assert found == answer(cached=True, latency_s=0.0, cost=None)


MUTATIONS = {
    "another release": (Identity(OTHER, "engine-1"), "candidate", 0, BODY),
    "another engine": (Identity(DIGEST, "engine-2"), "candidate", 0, BODY),
    "an engine without a name": (Identity(DIGEST, None), "candidate", 0, BODY),
    "the other arm": (Identity(DIGEST, "engine-1"), "baseline", 0, BODY),
    "another epoch": (Identity(DIGEST, "engine-1"), "candidate", 1, BODY),
    "another model": (Identity(DIGEST, "engine-1"), "candidate", 0, BODY.replace(b"faq@2", b"faq@3")),
    "another question": (Identity(DIGEST, "engine-1"), "candidate", 0, BODY.replace(b'"q"', b'"r"')),
    "another seed": (Identity(DIGEST, "engine-1"), "candidate", 0, BODY.replace(b":1}", b":2}")),
    "one more parameter": (Identity(DIGEST, "engine-1"), "candidate", 0, BODY.replace(b"}", b',"top_p":1}')),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_law_every_part_that_changes_an_answer_changes_the_key(room: Room, name: str) -> None:
    who, arm, epoch, body = MUTATIONS[name]
    room.cache().put("candidate", 0, BODY, Result(answer=answer()))
    assert key(who, arm, epoch, body) != key(Identity(DIGEST, "engine-1"), "candidate", 0, BODY)
    assert room.cache({arm: who}).get(arm, epoch, body) is None


def test_parts_cannot_run_into_each_other() -> None:
    assert key(Identity("a", "b"), "candidate", 1, b"") != key(Identity("a", 'b","candidate",1,'), "candidate", 1, b"")


NOT_KEPT = {
    "a failure": Result(answer=answer(), failure=Failure("empty_answer", "")),
    "no answer": Result(failure=Failure("timeout", "")),
    "no release": Result(answer=answer(release_digest=None)),
    "no end": Result(answer=answer(finish_reason=None)),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_only_whole_answers_of_a_known_release_are_kept(room: Room, name: str) -> None:
    room.cache().put("candidate", 0, BODY, NOT_KEPT[name])
    assert [path for path in room.folder.rglob("*") if path.is_file()] == []


def test_a_cut_off_answer_is_kept_for_asking_again_for_those_alone_would_raise_the_score(room: Room) -> None:
    room.cache().put("candidate", 0, BODY, Result(answer=answer(finish_reason="length")))
    assert room.cache().get("candidate", 0, BODY) is not None


def test_an_unknown_release_means_no_cache_and_is_said_once(room: Room) -> None:
    cache = room.cache({"candidate": None})
    for _ in range(3):
        assert cache.get("candidate", 0, BODY) is None
    assert len(room.said) == 1
    assert "name no release digest" in room.said[0]


@pytest.mark.parametrize("changed", [{"release_digest": OTHER}, {"fingerprint": "engine-2"}])
def test_when_somebody_else_answers_nothing_more_is_taken(room: Room, changed: dict[str, str]) -> None:
    cache = room.cache()
    cache.put("candidate", 0, BODY, Result(answer=answer()))
    assert cache.get("candidate", 0, BODY) is not None
    for epoch in (1, 2):
        cache.put("candidate", epoch, BODY, Result(answer=answer(**changed)))
    assert cache.get("candidate", 0, BODY) is None
    assert len(room.said) == 1
    assert cache.hits == 1


@pytest.mark.parametrize("damage", [b"", b"x" * 64, b"half"])
def test_a_damaged_entry_is_none_and_is_written_again(room: Room, damage: bytes) -> None:
    cache = room.cache()
    cache.put("candidate", 0, BODY, Result(answer=answer()))
    (entry,) = (path for path in room.folder.rglob("*") if path.is_file())
    entry.write_bytes(damage)
    assert cache.get("candidate", 0, BODY) is None
    cache.put("candidate", 0, BODY, Result(answer=answer()))
    assert cache.get("candidate", 0, BODY) is not None


def test_two_runs_share_a_folder(room: Room) -> None:
    one, two = room.cache(), room.cache()
    one.put("candidate", 0, BODY, Result(answer=answer()))
    two.put("candidate", 0, BODY, Result(answer=answer()))
    assert one.get("candidate", 0, BODY) == two.get("candidate", 0, BODY) is not None
    assert len([path for path in room.folder.rglob("*") if path.is_file()]) == 1


def test_a_folder_that_cannot_be_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--cache"):
        Cache(tmp_path / "file", NOW, print)


def test_identity_is_release_and_engine() -> None:
    assert identity(answer()) == Identity(DIGEST, "engine-1")
    assert identity(answer(release_digest=None)) is None
    assert identity(None) is None


def test_no_cache_keeps_nothing() -> None:
    NoCache().put("candidate", 0, BODY, Result(answer=answer()))
    assert NoCache().get("candidate", 0, BODY) is None


def test_an_answer_survives(room: Room) -> None:
    kept = answer(text="é\n\u2028", turns=["a"], cached_tokens=3)
    room.cache().put("candidate", 0, BODY, Result(answer=kept))
    found = room.cache().get("candidate", 0, BODY)
    assert found == msgspec.structs.replace(kept, cached=True, latency_s=0.0, cost=None)
