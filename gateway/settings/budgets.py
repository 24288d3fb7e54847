"""How much may be spent, by whom, on what, in which time.

budgets:
  search-monthly: {team: search, amount: "5000", per: month, timezone: America/Sao_Paulo, alerts: ["0.5", "0.8"]}
  each-key-daily: {each: key, model: support, amount: "10", per: day}
  pilot: {team: pilot, amount: "250.00", per: total, money: gpu, on_exceeded: warn}
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Protocol
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.contracts import documents
from gateway.contracts.documents import Secret
from gateway.contracts.prices import PriceBook

Per = Literal["day", "week", "month", "total"]
Money = Literal["list", "gpu"]
Each = Literal["key", "team"]
BudgetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Subject = Annotated[str, Field(min_length=1, max_length=128)]

LARGEST = 100_000_000
"""Nobody's budget is larger, and so many billionths of it still fit the integers of every store, with room to add."""


def _exact(value: object) -> Decimal:
    """A float is refused: 0.1 is not a tenth."""
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except ArithmeticError as error:
            raise ValueError(f'expected a number in quotes such as "10.50", found {value!r}') from error
        if number.is_finite():
            return number
    raise ValueError(f'expected a number in quotes such as "10.50", found {value!r}')


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {value!r}: expected a name such as America/Sao_Paulo") from error
    return value


Amount = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, le=LARGEST, decimal_places=9)]
Fraction = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, lt=1, decimal_places=4)]


class BudgetConfig(documents.Frozen):
    """What requests may cost in a window of time, in the currency of the prices (`list`) or of the GPUs (`gpu`).

    A request counts where everything matches that is given of `team`, `key` (its public id) and `model`. With `each`,
    every key or team that matches has the amount for itself. A day begins at midnight of the time zone, a week on
    Monday. At each of `alerts`, parts of the amount, the log and a metric say so, once. What `on_exceeded` says counts
    when a request may cost more than what is left: it is refused, or served with a warning.
    """

    team: Subject | None = None
    key: Subject | None = None
    model: Subject | None = None
    each: Each | None = None
    amount: Amount
    per: Per = "month"
    money: Money = "list"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    alerts: tuple[Fraction, ...] = ()
    on_exceeded: Literal["refuse", "warn"] = "refuse"

    @model_validator(mode="after")
    def _of_somebody(self) -> "BudgetConfig":
        if self.team is None and self.key is None and self.model is None and self.each is None:
            raise ValueError("expected at least one of `team`, `key`, `model` and `each`: whose budget is it?")
        if self.key is not None and self.each is not None:
            raise ValueError("`each` divides nothing here, since `key` is one alone: leave one of the two out")
        if self.team is not None and self.each == "team":
            raise ValueError("`each: team` divides nothing here, since `team` is one alone: leave one of the two out")
        return self


class RedisConfig(documents.Frozen):
    """Where several gateways count together. `timeout` in seconds; `prefix` begins the names of all keys there.

    `when_away` says what becomes of a request whose budgets cannot be asked for: `refuse` answers 503, `allow` serves
    it, counts it, and charges it once Redis is back.

    With `share_limits` the limits of keys and teams hold over all gateways together, and not on each of them. While
    Redis is away each goes on with its part of them (`limits_when_away: local`), or refuses requests under limits.
    """

    url: Annotated[str, Field(pattern=r"^(rediss?://[^@?\s]+|unix:///[^@?\s]+)$")]
    password: Secret | None = None
    timeout: Annotated[float, Field(gt=0, le=10)] = 0.25
    when_away: Literal["refuse", "allow"] = "refuse"
    share_limits: bool = False
    limits_when_away: Literal["local", "refuse"] = "local"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "tollgate"

    def anchored(self, base: Path) -> "RedisConfig":
        """The same with the relative path of its password made relative to a folder."""
        if self.password is None or self.password.file is None:
            return self
        return self.model_copy(update={"password": Secret(file=base / self.password.file)})


class _Pooled(Protocol):
    @property
    def pool(self) -> str: ...


class _Model(Protocol):
    @property
    def releases(self) -> Sequence[_Pooled]: ...


def budget_mistakes(
    budgets: Mapping[str, BudgetConfig], teams: Collection[str], models: Collection[str]
) -> Iterator[tuple[documents.Location, str]]:
    """Names that refer to nothing. Where no team is named under `teams`, any may have a budget."""
    for name, budget in budgets.items():
        if budget.team is not None and teams and budget.team not in teams:
            yield ("budgets", name, "team"), f"no team {budget.team!r}; the teams here are {_listed(teams)}"
        if budget.model is not None and budget.model not in models:
            yield ("budgets", name, "model"), f"no model {budget.model!r}; the models here are {_listed(models)}"


def uncounted(
    budgets: Mapping[str, BudgetConfig], models: Mapping[str, _Model], book: PriceBook, rented: Collection[str] = ()
) -> Iterator[tuple[documents.Location, str]]:
    """Budgets that could never count: in list money, with a model that has no list price, or in GPU money, with a model
    of which no pool is among those with a price of their GPUs."""
    listed = [model for model in models if not isinstance(book.models.get(model, "unpriced"), str)]
    for name, budget in budgets.items():
        wanted = [budget.model] if budget.model is not None else list(models)
        if not models.keys() >= set(wanted):
            continue  # that is a mistake of its own
        at: documents.Location = ("budgets", name, "money")
        of = "no model has a price" if budget.model is None else f"the model {budget.model!r} has no price"
        if budget.money == "list" and not set(wanted) & set(listed):
            yield at, f"{of} in list money, so that nothing would count: put its price into the file under `prices`"
        pools = {release.pool for model in wanted for release in models[model].releases}
        if budget.money == "gpu" and pools.isdisjoint(rented):
            yield at, f"{of} for the GPUs of its pools, so that nothing would count: give them one"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
