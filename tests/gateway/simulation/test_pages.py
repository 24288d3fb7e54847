"""What is read of an engine's metrics, and what is missed."""

import pytest

from gateway.contracts.errors import InputError
from gateway.simulation.pages import MARK, read_page, read_pages
from tests.engine import recordings
from tests.gateway.modelled import BURSTS, Modelled

PAGE = recordings.load("metrics").body.decode()


def test_a_recorded_page_of_a_real_engine_is_read() -> None:
    found = read_page(PAGE, 5.0)
    assert found.at == 5.0
    assert found.steps > 0
    assert found.ended > 0
    assert 0 <= found.until_first_s <= found.inside_s
    assert found.kv_tokens == 0  # it does not say


def test_the_size_of_the_kv_cache_is_told_by_its_blocks_or_as_such() -> None:
    assert read_page(Modelled().page(), 0.0).kv_tokens == 16 * 4096
    page = Modelled().page().replace('block_size="16"', 'block_size="16",kv_cache_size_tokens="900"')
    assert read_page(page, 0.0).kv_tokens == 900


def test_a_page_tells_what_its_engine_counted() -> None:
    model = Modelled()
    model.window(BURSTS[0])
    assert read_page(model.page(), model.now) == pytest.approx(model.counters())


def test_prompt_tokens_that_a_cache_gave_are_not_counted() -> None:
    assert 'source="local_cache_hit"' in Modelled().page()
    assert read_page(Modelled().page(), 0.0).computed == 0.0


@pytest.mark.parametrize(
    "name", ["iteration_tokens_total_count", "generation_tokens_total", "request_queue_time_seconds_sum"]
)
def test_what_a_page_lacks_is_told(name: str) -> None:
    page = "\n".join(line for line in Modelled().page().splitlines() if not line.startswith(f"vllm:{name}"))
    with pytest.raises(InputError, match=f"does not say 'vllm:{name}'"):
        read_page(page, 0.0)


def test_several_engines_behind_one_address_are_refused() -> None:
    with pytest.raises(InputError, match="the metrics of one engine, found 2"):
        read_page(PAGE + 'vllm:num_requests_running{engine="1"} 0.0\n', 0.0)


def test_a_file_of_pages_is_read_with_its_times() -> None:
    text = "".join(f"{MARK}{second}\n{PAGE}" for second in (1.0, 2.5))
    assert [each.at for each in read_pages(text)] == [1.0, 2.5]


@pytest.mark.parametrize(
    ("text", "told"), [(PAGE, "found 0"), (f"{MARK}1\n{PAGE}", "found 1"), (f"{MARK}now\n", "found 'now'")]
)
def test_a_file_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_pages(text)
