"""What a run will send, before it sends anything."""

from decimal import Decimal

import msgspec

from evals.asking import Request
from evals.dataset import Dataset
from evals.schema import Sample
from gateway.contracts.errors import InputError
from gateway.contracts.prices import PriceBook

BYTES_PER_TOKEN = 4
"""Of English prose in UTF-8, for the usual tokenizers; within a third for most text. The answers tell exactly."""


class Estimate(msgspec.Struct, frozen=True):
    """Counts of a whole run.

    `input_tokens` are estimated from the bytes of the messages, answers of earlier turns at their longest included;
    `most_output_tokens` is None where `max_tokens` sets no limit.
    """

    samples: int
    epochs: int
    arms: int
    requests: int
    input_tokens: int
    most_output_tokens: int | None


def estimate(dataset: Dataset, request: Request) -> Estimate:
    """The estimate of a run of this request from its beginning."""
    samples = dataset.samples[: request.limit]
    times = request.epochs * len(request.arms())
    most = request.params.get("max_completion_tokens", request.params.get("max_tokens"))
    longest = most if isinstance(most, int) else None
    requests = sum(1 + len(sample.follow_ups) for sample in samples)
    return Estimate(
        samples=len(samples),
        epochs=request.epochs,
        arms=len(request.arms()),
        requests=requests * times,
        input_tokens=sum(_input_tokens(sample, request, longest or 0) for sample in samples) * times,
        most_output_tokens=None if longest is None else longest * requests * times,
    )


class Quote(msgspec.Struct, frozen=True):
    """List prices of a run, judges left out: of its input alone, and with the longest output, None without a limit."""

    input: Decimal
    most: Decimal | None
    currency: str
    version: str


def quote(found: Estimate, request: Request, book: PriceBook, at: float) -> Quote:
    """What an estimate costs by a price file at `at`, in seconds since the epoch. Raises InputError without a price.

    A release (`faq@2`) has the price of its model.
    """
    read, written = Decimal(0), Decimal(0)
    for arm in request.arms():
        model = request.asked(arm).partition("@")[0]
        price = book.price(model, at)
        if price is None:
            known = ", ".join(sorted(book.models))
            raise InputError(f"the price file {book.version!r} has no price for {model!r} today: it has {known}")
        read += price.most(found.input_tokens // found.arms, 0)
        written += price.most(0, (found.most_output_tokens or 0) // found.arms)
    return Quote(read, None if found.most_output_tokens is None else read + written, book.currency, book.version)


def _input_tokens(sample: Sample, request: Request, longest: int) -> int:
    """Of all turns of one conversation: each turn sends everything before it again."""
    first = _tokens(msgspec.json.encode([request.messages(sample), sample.tools]))
    whole = sent = first
    for follow_up in sample.follow_ups:
        sent += longest + _tokens(follow_up.encode())
        whole += sent
    return whole


def _tokens(text: bytes) -> int:
    return max(1, round(len(text) / BYTES_PER_TOKEN))
