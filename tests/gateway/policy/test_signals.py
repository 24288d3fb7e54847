"""A page is read for what it says, and what it does not say is unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.signals import RUNNING, WAITING, Signals, Tally, asleep_by_metrics, read_signals, read_tally
from tests.engine import recordings

METRICS = recordings.load("metrics").body
CONFIG = 'vllm:cache_config_info{{block_size="16",engine="{}",num_gpu_blocks="{}",enable_prefix_caching="{}"}} 1.0'


def page(*lines: str) -> bytes:
    return "\n".join(["# TYPE x gauge", *lines, ""]).encode()


def engine(rank: int, usage: float, waiting: int, blocks: int = 100) -> list[str]:
    """The lines of one rank."""
    labels = f'{{engine="{rank}",model_name="a}}b \\" faq"}}'
    return [
        f"vllm:kv_cache_usage_perc{labels} {usage}",
        f"vllm:num_requests_running{labels} 2.0",
        f"vllm:num_requests_waiting{labels} {waiting}.0",
        f'vllm:num_requests_waiting_by_reason{labels[:-1]},reason="capacity"}} 9.0',
        CONFIG.format(rank, blocks, "True"),
    ]


def test_a_recorded_engine_says_everything() -> None:
    more = page(CONFIG.format(0, 100, "True"), "process_start_time_seconds 1.79536554384e+09")
    signals = read_signals(METRICS + more, 7.0)
    assert signals.missing == []
    assert (signals.at, signals.kv_usage, signals.running, signals.waiting) == (7.0, 0.0, 0, 0)
    assert (signals.capacity, signals.caches, signals.asleep) == (1600, True, False)
    assert signals.started_at == 1795365543.84


def test_the_ranks_of_one_server_are_told_apart_and_together() -> None:
    two = page(*engine(0, 0.5, 3), *engine(1, 0.1, 1, blocks=300))
    assert read_signals(two, 0.0, 0) == Signals(0.0, 0.5, 2, 3, 1600, True)
    assert read_signals(two, 0.0, 1) == Signals(0.0, 0.1, 2, 1, 4800, True)
    assert read_signals(two, 0.0) == Signals(0.0, 0.3, 4, 4, 6400, True)
    assert read_signals(two, 0.0, 2) == Signals(0.0)


def test_what_only_some_of_the_ranks_say_is_unknown() -> None:
    half = page(*engine(0, 0.5, 3), *(line for line in engine(1, 0.1, 1) if "usage" not in line))
    assert read_signals(half, 0.0).kv_usage is None
    assert read_signals(half, 0.0).waiting == 4


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("vllm:kv_cache_usage_perc", "kv_usage"),
        ("vllm:num_requests_waiting", "waiting"),
        ("vllm:num_requests_running", "running"),
        ("vllm:cache_config_info", "capacity"),
    ],
)
def test_a_missing_family_is_unknown_and_never_zero(name: str, missing: str) -> None:
    one = page(*engine(0, 0.5, 3)).replace(name.encode() + b"{", b"other{")
    signals = read_signals(one, 0.0)
    assert getattr(signals, missing) is None
    assert signals.missing == ([] if missing == "running" else [name])


def test_an_older_name_is_known_and_the_newer_one_counts() -> None:
    old = page('vllm:gpu_cache_usage_perc{engine="0"} 0.25')
    assert read_signals(old, 0.0).kv_usage == 0.25
    assert read_signals(old + page('vllm:kv_cache_usage_perc{engine="0"} 0.75'), 0.0).kv_usage == 0.75


def test_without_labels_it_is_one_engine() -> None:
    bare = page("vllm:num_requests_waiting 4", "vllm:kv_cache_usage_perc 0.5 1700000000")
    assert read_signals(bare, 0.0) == Signals(0.0, kv_usage=0.5, waiting=4)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "", "many", "1e16", "-1e300", "9" * 400])
def test_what_is_no_number_is_no_value(value: str) -> None:
    assert read_signals(page(f'vllm:kv_cache_usage_perc{{engine="0"}} {value}'), 0.0).kv_usage is None


@pytest.mark.parametrize(
    ("config", "capacity", "caches"),
    [
        (CONFIG.format(0, 100, "False"), 1600, False),
        (CONFIG.format(0, "None", "True"), None, True),
        ('vllm:cache_config_info{kv_cache_size_tokens="900",block_size="16",num_gpu_blocks="100"} 1.0', 900, None),
        ('vllm:cache_config_info{kv_cache_size_tokens="None",block_size="16",num_gpu_blocks="9"} 1.0', 144, None),
        ("vllm:cache_config_info 1.0", None, None),
        (CONFIG.format(0, "9" * 16, "True"), None, True),
        (CONFIG.format(0, "9" * 5000, "True"), None, True),
    ],
)
def test_how_large_its_cache_is(config: str, capacity: int | None, caches: bool | None) -> None:
    signals = read_signals(page(config), 0.0)
    assert (signals.capacity, signals.caches) == (capacity, caches)


@given(st.binary(max_size=200), st.sampled_from([b"vllm:kv_cache_usage_perc", b"vllm:engine_sleep_state{", b""]))
def test_no_page_breaks_the_reading(junk: bytes, name: bytes) -> None:
    signals = read_signals(junk + b"\n" + name + junk, 1.0)
    assert signals.at == 1.0
    assert signals.kv_usage is None or 0.0 <= signals.kv_usage <= 1.0


def sleep_page(*awake: str) -> bytes:
    lines = [
        f'vllm:engine_sleep_state{{engine="{at}",model_name="faq",sleep_state="awake"}} {value}'
        for at, value in enumerate(awake)
    ]
    off = 'vllm:engine_sleep_state{engine="0",model_name="faq",sleep_state="discard_all"} 0.0'
    return "\n".join([*lines, off]).encode()


@pytest.mark.parametrize(
    ("page", "asleep"),
    [
        (METRICS, False),
        (sleep_page("1.0"), False),
        (sleep_page("0"), True),
        (sleep_page("0.0"), True),
        (sleep_page("1.0", "0.0"), True),
        (sleep_page(), None),
        (b"", None),
        (b"<html>", None),
    ],
)
def test_who_sleeps_by_the_metrics(page: bytes, asleep: bool | None) -> None:
    assert asleep_by_metrics(page) is asleep


def test_a_real_engine_says_what_it_has_counted() -> None:
    tally = read_tally(METRICS)
    assert tally == Tally(None, 9446, 0, 8870)


def test_each_rank_counts_for_itself() -> None:
    page = b"".join(
        b'vllm:prompt_tokens_total{engine="%d",model_name="m"} %d.0\n' % (rank, 10**rank) for rank in range(3)
    )
    page += b'vllm:prompt_tokens_by_source_total{engine="1",source="x"} 5.0\nprocess_start_time_seconds 1.5e+09\n'
    assert [read_tally(page, rank).prompt for rank in (None, 0, 1, 2, 3)] == [111, 1, 10, 100, None]
    assert read_tally(page) == Tally(1.5e9, 111, None, None)


@pytest.mark.parametrize("suffix", ["_total", ""])
def test_counters_have_had_several_names(suffix: str) -> None:
    page = f"vllm:prompt_tokens{suffix} 3\nvllm:generation_tokens{suffix} 4\nvllm:prefix_cache_hits{suffix} 2\n"
    assert read_tally(page.encode()) == Tally(None, 3, 2, 4)
    assert read_tally(b"") == Tally()


def test_what_no_engine_can_have_counted_is_no_count() -> None:
    page = b'vllm:prompt_tokens_total{engine="0"} 1e300\nvllm:generation_tokens_total{engine="0"} 4\n'
    assert read_tally(page) == Tally(None, None, None, 4)


def test_loads_that_add_up_to_infinity_are_none() -> None:
    told = page(*(f'{name}{{engine="{rank}"}} 1e308' for rank in range(2) for name in (*RUNNING, *WAITING)))
    assert read_signals(told, 0.0) == Signals(0.0)
