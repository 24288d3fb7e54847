from datetime import timedelta
from pathlib import Path

import pytest

from evals import judge_card
from evals.judge_card import Figures
from gateway.contracts.errors import DocumentError, InputError
from tests.evals.labels_bench import BINARY, NOW, card, figure


def test_a_card_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "card.yaml"
    judge_card.save(card(), path)
    read = judge_card.load(path)
    assert read == card()
    assert read.digest() == card().digest()
    assert read.labels.label_values() == BINARY


@pytest.mark.parametrize(
    "changed",
    [
        {"metric": "other"},
        {"expires": NOW + timedelta(days=900)},
        {"figures": Figures(tpr=figure(0.91), tnr=figure(0.9), kappa=figure(0.8))},
        {"harness": "x"},
    ],
)
def test_every_change_is_another_card(changed: dict[str, object]) -> None:
    assert card(**changed).digest() != card().digest()


def test_a_card_expires() -> None:
    assert not card().expired(NOW)
    assert card().expired(NOW + timedelta(days=80))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lower: 0.9", "lower: .nan"),
        ("lower: 0.9", "lowest: 0.9"),
        ("card/v1", "card/v9"),
        ("samples: 120", "samples: -1"),
    ],
)
def test_a_broken_card_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "card.yaml"
    judge_card.save(card(), path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DocumentError, match=r"card\.yaml"):
        judge_card.load(path)


def test_a_card_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write the card"):
        judge_card.save(card(), tmp_path)
