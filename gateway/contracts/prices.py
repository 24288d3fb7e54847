"""List prices: Decimal, from a versioned local file, never guessed.

version: "2026-11-01"
currency: USD
models:
  support: {input: "0.20", cached_input: "0.02", output: "0.60", reasoning: "0.60"}   # per million tokens
  scratch: unpriced                                                # rows say so; they never read zero
  seasonal:                                                        # days of UTC; `until` itself no longer counts
    - {until: 2026-12-01, input: "0.20", output: "0.60"}
    - {from: 2026-12-01, input: "0.25", output: "0.75"}
"""

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from gateway.contracts import canonical, documents
from gateway.contracts.errors import PriceMissing
from gateway.contracts.usage import Usage

PER = Decimal(1_000_000)
PLACES = Decimal("0.000000001")  # nano-units: ledgers sum them as integers, exactly
NO_VERSION = "none"
"""What rows have for a version where there are no prices."""


def _decimal(value: object) -> Decimal:
    """A float is refused: 0.1 is not a tenth."""
    if isinstance(value, float):
        raise ValueError(f'write the amount in quotes, "{value}", so that it stays exact')
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except ArithmeticError as error:
            raise ValueError(f'expected an amount such as "0.20", found {value!r}') from error
        if number.is_finite():
            return number
    raise ValueError(f'expected an amount such as "0.20", found {value!r}')


def _day(value: object) -> object:
    """Days alone: a moment of one would need a time zone, and a number could be anything."""
    if isinstance(value, str):
        try:
            return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError as error:
            raise ValueError(f"expected a day such as 2026-12-01, found {value!r}") from error
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    raise ValueError(f"expected a day such as 2026-12-01, found {value!r}")


Amount = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=1_000_000)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]


class Price(documents.Frozen):
    """Amounts per million tokens.

    Cached input costs as much as input, and reasoning as much as output, unless the file says otherwise.
    """

    input: Amount
    output: Amount
    cached_input: Amount | None = None
    reasoning: Amount | None = None

    def cost(self, usage: Usage) -> Decimal:
        """The amount for one request, rounded once, to `PLACES`. Cached or reasoning tokens that nobody counted cost
        as input and output."""
        input_price, read, written = self.input, usage.input_tokens, usage.output_tokens
        cached, thought = usage.cached_tokens, usage.reasoning_tokens
        if cached and (cached_price := self.cached_input) is not None:
            cached = min(cached, read)
            total = (read - cached) * input_price + cached * cached_price
        else:
            total = read * input_price
        if thought and (reasoning_price := self.reasoning) is not None:
            thought = min(thought, written)
            total += thought * reasoning_price
            written -= thought
        return ((total + written * self.output) / PER).quantize(PLACES)

    def most(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The most that a request of so many tokens can cost, whatever is cached or reasoned: rounded up."""
        read = self.input if self.cached_input is None else max(self.input, self.cached_input)
        written = self.output if self.reasoning is None else max(self.output, self.reasoning)
        return ((input_tokens * read + output_tokens * written) / PER).quantize(PLACES, ROUND_CEILING)


class Period(Price):
    """The prices from one day on until another, which no longer counts; in UTC. Without a day it is open there."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Annotated[Day | None, BeforeValidator(_day)] = Field(default=None, alias="from")
    until: Annotated[Day | None, BeforeValidator(_day)] = None

    @model_validator(mode="after")
    def _forwards(self) -> "Period":
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise ValueError(f"expected `until` after `from` ({self.from_}), found {self.until}")
        return self

    @cached_property
    def since_s(self) -> float:
        """When it begins, in seconds since the epoch."""
        return -math.inf if self.from_ is None else _seconds(self.from_)

    @cached_property
    def until_s(self) -> float:
        """When it has ended."""
        return math.inf if self.until is None else _seconds(self.until)


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _unbroken(periods: tuple[Period, ...]) -> tuple[Period, ...]:
    """In their order. Raises ValueError for days that no period covers, or two of them do."""
    if not periods:
        raise ValueError("expected at least one period, or `unpriced`")
    found, ordered = [], tuple(sorted(periods, key=lambda period: period.since_s))
    for before, after in pairwise(ordered):
        if before.until is None or after.from_ is None or after.from_ < before.until:
            found.append(f"{_told(before)} and {_told(after)} overlap: every day has one price")
        elif after.from_ > before.until:
            days, last = (after.from_ - before.until).days, after.from_ - timedelta(days=1)
            missing = str(last) if days == 1 else f"{before.until} to {last} ({days} days)"
            found.append(f"no price on {missing}: let the periods meet, or add one")
    if found:
        raise ValueError("; ".join(found))
    return ordered


def _told(period: Period) -> str:
    return f"{period.from_ or 'the beginning'} until {period.until or 'further notice'}"


def _entry_kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return "periods"
    return "amounts" if isinstance(value, dict | Price) else "unpriced"


def _whole(entry: Price | tuple[Period, ...] | str) -> Price | tuple[Period, ...] | str:
    """Looked at beside the union, so that a mistake stands at the model and not at a branch that no file has."""
    return _unbroken(entry) if isinstance(entry, tuple) else entry


Entry = Annotated[
    Annotated[Price, Tag("amounts")]
    | Annotated[tuple[Period, ...], Tag("periods")]
    | Annotated[Literal["unpriced"], Tag("unpriced")],
    Discriminator(_entry_kind),
    AfterValidator(_whole),
]


class PriceBook(documents.Frozen):
    """Prices by model. A model that is not listed has no price, and that is an error, not zero."""

    version: Annotated[str, Field(min_length=1, max_length=200)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    models: dict[str, Entry]

    @model_validator(mode="after")
    def _named(self) -> "PriceBook":
        if self.version == NO_VERSION and self.models:
            raise ValueError(f"the version {NO_VERSION!r} says that there are no prices: name it otherwise")
        return self

    def require(self, models: Iterable[str]) -> None:
        """Raise PriceMissing when one of the models is neither priced nor declared `unpriced`."""
        missing = sorted(set(models) - set(self.models))
        if missing:
            raise PriceMissing(
                f"price book {self.version!r} has no price for {', '.join(map(repr, missing))}: "
                "add one under `models`, or write `unpriced` there"
            )

    def absent(self, at: float) -> list[str]:
        """What is wrong at a moment, in seconds since the epoch: models whose periods do not cover it."""
        found = []
        for model, entry in sorted(self.models.items()):
            if isinstance(entry, tuple) and self.price(model, at) is None:
                first, last = entry[0].from_, entry[-1].until
                told = f"begin on {first}" if at < entry[0].since_s else f"ended: there is none from {last} on"
                found.append(
                    f"price book {self.version!r}: the prices of {model!r} {told}: add a period with the days that are "
                    "missing, or write `unpriced`"
                )
        return found

    def cover(self, at: float) -> None:
        """Raise PriceMissing when a model whose prices have dates has none at a moment, in seconds since the epoch."""
        if found := self.absent(at):
            raise PriceMissing("\n".join(found))

    def price(self, model: str, at: float) -> Price | None:
        """What counts for a request that started at a moment; None when it is unpriced."""
        entry = self.models.get(model)
        if isinstance(entry, tuple):
            for period in reversed(entry):
                if period.since_s <= at:
                    return period if at < period.until_s else None
            return None
        return entry if isinstance(entry, Price) else None

    def cost(self, model: str, usage: Usage | None, at: float) -> Decimal | None:
        """The list cost of a request that started at a moment, in seconds since the epoch.

        None when the model is unpriced then, or its tokens are unknown.
        """
        if usage is None:
            return None
        price = self.models.get(model)
        if type(price) is not Price:  # nearly always it is
            price = self.price(model, at)
        return None if price is None else price.cost(usage)

    def digest(self) -> str:
        """sha256 over the canonical JSON of what it says: the same digest, the same costs."""
        return canonical.digest(_plain(self.model_dump(by_alias=True, exclude_none=True)))


def _plain(value: Any) -> Any:
    """Values as JSON has them; of two ways to write an amount ("0.2", "0.20") one."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.isoformat() if isinstance(value, date) else value


UNPRICED = PriceBook(version=NO_VERSION, models={})


def load(path: Path) -> PriceBook:
    """Read a price file. Raises DocumentError."""
    return documents.load(path, PriceBook)
