"""Values of the queue: nothing waits unless it is asked for, and what cannot be meant is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings.queue import QueueConfig


def test_without_a_cap_nothing_waits() -> None:
    assert QueueConfig().max_in_flight is None


def test_the_lowest_of_three_classes_rises_to_the_highest_before_its_wait_is_over() -> None:
    queue = QueueConfig()
    assert 2 * queue.ageing < queue.max_wait


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_in_flight": 0},
        {"max_queued": -1},
        {"max_wait": 0},
        {"ageing": 0},
        {"ageing": 0.001},
        {"input": -1.0},
        {"cached": -0.1},
        {"output": 1001},
        {"weight": 1},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        QueueConfig.model_validate(wrong)
