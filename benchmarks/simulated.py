"""What each routing policy and the fair queue are worth, on simulated fleets: the tables, with five seeds.

    .venv/bin/python benchmarks/simulated.py            # a minute and a half
    .venv/bin/python benchmarks/simulated.py --seeds 1

Three questions. Which policy on llm-d's workload of shared prefixes, at five loads? Does one of them gain where prompts
share nothing (it must not)? Who is served when two tenants ask for too much? The policies and the queue are the
gateway's own; the engines are models whose numbers were computed and not measured: `gateway simulate --help`.
"""

import argparse
import sys
from pathlib import Path
from random import Random

# Run as a script, Python looks for `gateway` beside this file.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gateway.policy.routing import POLICIES
from gateway.settings.profile import A10G, H100X2
from gateway.settings.queue import QueueConfig
from gateway.simulation.fleet import Setup, replay
from gateway.simulation.report import Line, services, summary
from gateway.simulation.workloads import VTC_TOKENS, WORKLOADS

RATES = (3.0, 12.0, 30.0, 45.0, 60.0)
ROUTED = {"cached_share": ".3f", "ttft_p50": ".3f", "ttft_p90": ".3f", "itl_mean": ".4f", "balance": ".3f"}
CONTROL = (12.0, 60.0)
"""Below what eight replicas can do without a cache, and far above."""
WARM_S, END_S = 60.0, 360.0
PATIENT = QueueConfig(max_queued=100_000, max_wait=86_400, ageing=86_400)
"""Nobody gives up."""


def lines(name: str, rate: float, seeds: int) -> list[Line]:
    """Every policy on the same traces."""
    workload, found = WORKLOADS[name], []
    traces = [workload.make(Random(seed), rate, workload.seconds) for seed in range(1, seeds + 1)]
    for policy in POLICIES:
        setup = Setup(H100X2, workload.replicas, policy)
        found.append(
            Line(
                policy,
                workload.replicas,
                [summary(replay(trace, setup, Random(seed))) for seed, trace in enumerate(traces, 1)],
            )
        )
    return found


def show(title: str, found: list[Line], least: Line | None = None) -> None:
    """A Markdown table: the mean of the seeds, and from the least to the most."""
    print(f"\n**{title}**\n")
    heads = ["policy", "cached share", "TTFT p50 s", "TTFT p90 s", "ITL s", "balance"]
    heads += ["mean TTFT against least outstanding"] if least else []
    print("| " + " | ".join(heads) + " |\n| --- |" + " ---: |" * (len(heads) - 1))
    for line in found:
        cells = [line.policy]
        for metric, style in ROUTED.items():
            mean, low, high = (line.over(metric, each) for each in (lambda seen: sum(seen) / len(seen), min, max))
            cells.append(f"{mean:{style}} ({low:{style}}–{high:{style}})")
        if least:
            pairs = zip(line.seeds, least.seeds, strict=True)
            cells.append(", ".join(f"{(one.ttft_mean or 0) / (other.ttft_mean or 1) - 1:+.1%}" for one, other in pairs))
        print("| " + " | ".join(cells) + " |")


def fairness() -> None:
    """The overload of the VTC paper, and its relatives."""
    bound = 2 * max(VTC_TOKENS, 2 * A10G.kv_tokens)
    print(f"\n**Two tenants that ask for too much**, after {WARM_S:.0f} s; the bound of the paper is {bound:,}\n")
    print("| workload | queue | service | ratio | largest difference | tokens served per s |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name in ("overload", "weighted", "returns", "on-off", "proportional"):
        for fair in (True, False):
            workload = WORKLOADS[name]
            waits = QueueConfig(
                max_in_flight=workload.max_in_flight, max_queued=100_000, max_wait=86_400, ageing=86_400
            )
            arrivals = workload.make(Random(1), workload.rate, workload.seconds)
            done = replay(arrivals, Setup(A10G, 1, queue=waits, fair=fair), Random(1))
            served = services(done, WARM_S, END_S, weighted=False)
            widest = 0.0
            for second in range(int(WARM_S), int(END_S) + 1, 5):
                each = services(done, WARM_S, float(second), weighted=False).values()
                widest = max(widest, max(each) - min(each))
            told = " : ".join(f"{value:,.0f}" for value in served.values())
            ratio = max(served.values()) / min(served.values())
            queue = "fair" if fair else "first come first served"
            rate = sum(served.values()) / (END_S - WARM_S)
            print(f"| {name} | {queue} | {told} | {ratio:.3f} | {widest:,.0f} | {rate:,.1f} |")


def main() -> None:
    """Everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    for rate in RATES:
        show(f"llm-d's workload at {rate:g} requests/s, 8 replicas, {seeds} seeds", lines("llm-d", rate, seeds))
    for rate in CONTROL:
        found = lines("unique", rate, seeds)
        least = next(line for line in found if line.policy == "least_outstanding")
        show(f"The control: prompts that share nothing, {rate:g} requests/s, {seeds} seeds", found, least)
    fairness()


if __name__ == "__main__":
    main()
