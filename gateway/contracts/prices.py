"""List prices: Decimal, from a versioned local file, never guessed.

version: "2026-11-01"
currency: USD
models:
  support: {input: "0.20", cached_input: "0.02", output: "0.60"}   # per million tokens
  scratch: unpriced                                                # rows say so; they never read zero
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from gateway.contracts import documents
from gateway.contracts.errors import PriceMissing
from gateway.contracts.usage import Usage

PER = Decimal(1_000_000)
PLACES = Decimal("0.000000001")  # nano-units: ledgers sum them as integers, exactly


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


Amount = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, le=1_000_000)]


class Price(documents.Frozen):
    """Amounts per million tokens. Cached input costs as much as input unless the file says otherwise."""

    input: Amount
    output: Amount
    cached_input: Amount | None = None

    def cost(self, usage: Usage) -> Decimal:
        """The amount for one request, rounded once, to `PLACES`."""
        cached = min(usage.cached_tokens or 0, usage.input_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        total = (usage.input_tokens - cached) * self.input + cached * cached_price + usage.output_tokens * self.output
        return (total / PER).quantize(PLACES)


def _entry_kind(value: object) -> str:
    return "amounts" if isinstance(value, dict | Price) else "unpriced"


Entry = Annotated[
    Annotated[Price, Tag("amounts")] | Annotated[Literal["unpriced"], Tag("unpriced")], Discriminator(_entry_kind)
]


class PriceBook(documents.Frozen):
    """Prices by model. A model that is not listed has no price, and that is an error, not zero."""

    version: Annotated[str, Field(min_length=1)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    models: dict[str, Entry]

    def require(self, models: list[str]) -> None:
        """Raise PriceMissing when one of the models is neither priced nor declared `unpriced`."""
        missing = sorted(set(models) - set(self.models))
        if missing:
            raise PriceMissing(
                f"price book {self.version!r} has no price for {', '.join(map(repr, missing))}: "
                "add one under `models`, or write `unpriced` there"
            )

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """The list cost of a request; None when the model is unpriced or its tokens are unknown."""
        price = self.models.get(model)
        if usage is None or not isinstance(price, Price):
            return None
        return price.cost(usage)


UNPRICED = PriceBook(version="none", models={})


def load(path: Path) -> PriceBook:
    """Read a price file. Raises DocumentError."""
    return documents.load(path, PriceBook)
