from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evals import dataset
from evals.dataset import splits
from evals.dataset.card import Assign, Card
from evals.dataset.samples import Dataset, sample_digest, unit, whole_digest
from evals.schema import Sample
from gateway.contracts import canonical
from gateway.contracts.errors import InputError

ABOUT = {"name": "q", "owner": "me", "licence": "CC0-1.0", "made": "by hand"}
ASSIGN = Assign(salt="s", fractions={"dev": 0.25, "test": 0.75})
ROWS = [{"id": f"q{i}", "input": f"x{i}", "cluster": f"c{i // 3}"} for i in range(60)]
CLUSTERS = st.lists(st.one_of(st.none(), st.text("abcdef", min_size=1, max_size=3)), min_size=1, max_size=30)


def in_memory(clusters: list[str | None]) -> Dataset:
    samples = tuple(Sample(id=f"q{i}", input="x", cluster=cluster) for i, cluster in enumerate(clusters))
    digests = {sample.id: sample_digest(sample) for sample in samples}
    return Dataset(Path("d.jsonl"), samples, digests, whole_digest(digests))


def card(**more: Any) -> Card:
    return Card.model_validate({**ABOUT, "file": "d.jsonl", **more})


def store(path: Path, found: Card) -> None:
    (path.parent / "card.yaml").write_text(yaml.safe_dump(found.model_dump(mode="json", exclude_none=True)))


@given(clusters=CLUSTERS, more=CLUSTERS, salt=st.text(min_size=1, max_size=3))
def test_no_cluster_is_parted_and_no_sample_moves_when_others_come(
    clusters: list[str | None], more: list[str | None], salt: str
) -> None:
    found = card(assign={"salt": salt, "fractions": {"dev": 0.3, "test": 0.5, "rest": 0.2}})
    data = in_memory(clusters)
    before, after = splits.members(found, data), splits.members(found, in_memory(clusters + more))
    assert before == {sample_id: after[sample_id] for sample_id in before}
    assert len({(unit(s), before[s.id]) for s in data.samples}) == len({unit(s) for s in data.samples})


def test_shares_are_met_whatever_the_order_and_another_salt_gives_others() -> None:
    keys = [f"cluster {i}" for i in range(4000)]
    placed = [splits.place(ASSIGN, key) for key in keys]
    turned = Assign(salt="s", fractions={"test": 0.75, "dev": 0.25})
    assert placed == [splits.place(turned, key) for key in keys]
    assert 0.23 < placed.count("dev") / 4000 < 0.27
    other = [splits.place(Assign(salt="t", fractions=ASSIGN.fractions), key) for key in keys]
    assert 0.5 < sum(a == b for a, b in zip(placed, other, strict=True)) / 4000 < 0.75


def test_the_assignment_is_stable_across_versions() -> None:
    assert [splits.place(ASSIGN, f"cluster c{i}") for i in range(8)] == [
        "test", "test", "test", "test", "test", "test", "dev", "test",
    ]  # fmt: skip


@pytest.fixture
def frozen(write: Callable[..., Path]) -> tuple[Path, Card]:
    """A data set with two frozen splits, and its card."""
    path = write(*ROWS)
    found = card(assign=ASSIGN.model_dump())
    parts = splits.parts(found, dataset.load(path))
    found = found.model_copy(update={"splits": {name: splits.frozen(part, None) for name, part in parts.items()}})
    store(path, found)
    return path, found


def test_a_split_loads_with_its_own_digest(frozen: tuple[Path, Card]) -> None:
    path, found = frozen
    parts = {name: dataset.load_split(path, name) for name in ("dev", "test")}
    assert {name: part.digest for name, part in parts.items()} == {n: s.digest for n, s in found.splits.items()}
    assert sorted(s.id for part in parts.values() for s in part.samples) == sorted(row["id"] for row in ROWS)
    assert all(parts.values())
    assert dataset.load_split(path, None).digest == dataset.load(path).digest
    assert splits.check(found, dataset.load(path)) == []


@pytest.mark.parametrize(
    "rows",
    [
        [*ROWS, {"id": "new", "input": "x", "cluster": "c0"}],
        [{**ROWS[0], "input": "changed"}, *ROWS[1:]],
        ROWS[1:],
        [{**ROWS[0], "cluster": "c1"}, *ROWS[1:]],
    ],
    ids=["added", "changed", "removed", "moved"],
)
def test_a_changed_split_is_refused_and_an_error(
    frozen: tuple[Path, Card], write: Callable[..., Path], rows: list[dict[str, Any]]
) -> None:
    path, found = frozen
    changed = {finding.message.split("'")[1] for finding in splits.check(found, dataset.load(write(*rows)))}
    assert changed
    for name in changed:
        with pytest.raises(InputError, match=f"split '{name}' changed: the card froze .* --refreeze"):
            dataset.load_split(path, name)


def test_another_salt_in_the_card_is_a_changed_split(frozen: tuple[Path, Card]) -> None:
    path, found = frozen
    store(path, found.model_copy(update={"assign": Assign(salt="other", fractions=ASSIGN.fractions)}))
    with pytest.raises(InputError, match="changed"):
        dataset.load_split(path, "test")


def test_a_split_that_was_never_frozen_is_refused(write: Callable[..., Path]) -> None:
    path = write(*ROWS)
    with pytest.raises(InputError, match=r"expected '.*card.yaml', which says who is in it; found none"):
        dataset.load_split(path, "test")
    store(path, card(assign=ASSIGN.model_dump()))
    with pytest.raises(InputError, match="split 'test' is not frozen"):
        dataset.load_split(path, "test")
    with pytest.raises(InputError, match="no split 'tset': its splits are dev, test"):
        dataset.load_split(path, "tset")


def test_a_split_may_be_a_file_of_its_own(write: Callable[..., Path]) -> None:
    path = write(*ROWS, name="held.jsonl")
    sha256 = canonical.file_digest(path).removeprefix("sha256:")
    store(path, Card.model_validate({**ABOUT, "splits": {"held": {"file": "held.jsonl", "sha256": sha256}}}))
    assert len(dataset.load_split(path, "held").samples) == len(ROWS)
    with pytest.raises(InputError, match=r"it is the file 'held.jsonl'"):
        dataset.load_split(write(*ROWS), "held")
    write(*ROWS[1:], name="held.jsonl")
    with pytest.raises(InputError, match="its file has another sha256"):
        dataset.load_split(path, "held")


def messages(found: Card, data: Dataset) -> list[str]:
    return [f"{finding.level} {finding.code}: {finding.message}" for finding in splits.check(found, data)]


def test_listed_ids_are_checked(data: Callable[..., Dataset]) -> None:
    loaded = data(*ROWS[:6])
    part = splits.frozen(loaded.only(["q0", "q3"]), None).model_dump()
    found = card(splits={"a": {**part, "ids": ["q0", "q3", "gone"]}})
    text = "\n".join(messages(found, loaded))
    assert "error split: split 'a' lists 1 ids that the file does not have: 'gone'" in text
    assert "warning split: 4 samples are in no split: 'q1', 'q2', 'q4', 'q5'" in text
    assert "error split-cluster: 'cluster c0' is parted among splits (none, 'a')" in text


def test_an_id_in_two_splits_is_an_error(data: Callable[..., Dataset]) -> None:
    found = card(splits={"a": {"ids": ["q0"]}, "b": {"ids": ["q0"]}})
    assert any("split 'b' lists ids that another split lists too: 'q0'" in m for m in messages(found, data(*ROWS[:1])))


def test_wrong_counts_are_an_error(frozen: tuple[Path, Card]) -> None:
    path, found = frozen
    wrong = found.splits["test"].model_copy(update={"rows": 1, "clusters": 2})
    text = messages(found.model_copy(update={"splits": {**found.splits, "test": wrong}}), dataset.load(path))
    assert [line.split(", the file")[0] for line in text] == [
        "error split: split 'test': the card says 1 rows",
        "error split: split 'test': the card says 2 clusters",
    ]
