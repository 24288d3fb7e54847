from datetime import timedelta

import pytest

from evals.durations import span


def test_spans() -> None:
    found = [span(text) for text in ("14d", "12h", "30m")]
    assert found == [timedelta(days=14), timedelta(hours=12), timedelta(minutes=30)]


@pytest.mark.parametrize("text", ["", "0d", "1w", "d", "-1d", "1.5h", "1d ", "100000d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 14d, 12h or 30m"):
        span(text)
