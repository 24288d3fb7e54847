"""What the admin API takes and tells, field by field: its OpenAPI document is made of these."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.settings import tags as tagging
from gateway.settings.limits import Limit

KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", examples=["0123456789ab"])]
Text = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Amount = Annotated[str, Field(description="Decimal, as text: no reader rounds it.", examples=["12.50"])]
Moment = Annotated[str, Field(description="ISO 8601, UTC.", examples=["2026-11-22T12:00:00Z"])]
Cell = str | int | None


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def _tags(tags: dict[str, str] | None) -> dict[str, str] | None:
    if tags is not None and (wrong := tagging.mistake(tags)):
        raise ValueError(wrong)
    return tags


Tags = Annotated[dict[Text, Text] | None, Field(max_length=tagging.MOST), AfterValidator(_tags)]


class Keys(Strict):
    """Which keys to list, the oldest first. `after` is the id of the last one of the page before."""

    team: Text | None = None
    after: KeyId | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class NewKey(Strict):
    """A key to be made. `days` until it ends, null: never; `models` null: every one; limits null: none."""

    name: Text = "default"
    team: Text = "default"
    scope: Literal["serve", "evaluate", "admin"] = "serve"
    models: Annotated[list[Text], Field(min_length=1, max_length=100)] | None = None
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    rpm: Limit | None = None
    tpm: Limit | None = None
    concurrency: Limit | None = None
    priority_class: Annotated[Text | None, Field(alias="class")] = None
    tags: Tags = None


class KeyChange(Strict):
    """What of a key shall be other than it is; null lifts a limit. Tags are set all together."""

    rpm: Limit | None = None
    tpm: Limit | None = None
    concurrency: Limit | None = None
    priority_class: Annotated[Text | None, Field(alias="class")] = None
    tags: Tags = None


class Key(Strict):
    """A key, without its secret. `refusal` says why it opens nothing any more; null while it does."""

    id: KeyId
    name: str
    team: str
    scope: Literal["serve", "evaluate", "admin"]
    models: list[str] | None
    tags: dict[str, str]
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    priority_class: Annotated[str | None, Field(alias="class")]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    refusal: str | None


class MadeKey(Key):
    """A key that was made just now. `key` is shown this once and stored nowhere."""

    key: Annotated[str, Field(pattern=r"^sk-tg-[0-9a-f]{12}-[0-9a-f]{48}$")]


class KeyPage(Strict):
    """Keys, and whether there are more after the last of them."""

    data: list[Key]
    has_more: bool


class Promotion(Strict):
    """The release that its model shall serve. Going back is the same, with the release before."""

    release: Annotated[Text, Field(examples=["support@3"])]


class Release(Strict):
    """A release. `refusal` says why no traffic may reach it; null: it may serve."""

    release: str
    digest: str
    live: bool
    verdict: str
    refusal: str | None


class Releases(Strict):
    """Every release of the configuration."""

    data: list[Release]


class Budget(Strict):
    """A budget in its window of now. `reserved` is what running requests hold; null: nobody knows."""

    budget: str
    of: str
    money: str
    amount: Amount
    spent: Amount
    reserved: Amount | None
    left: Amount
    resets_at: str


class Budgets(Strict):
    """Every budget; those of each key or team, of whom there is something."""

    data: list[Budget]


class Period(Strict):
    """What sums are asked for: dates (UTC) or moments with an offset; without them it is this month so far.

    `by` are names to group by, separated by commas; team, key and model choose whose sums.
    """

    since: Annotated[str, Field(max_length=64, examples=["2026-11-01"])] | None = None
    until: Annotated[str, Field(max_length=64, examples=["2026-12-01"])] | None = None
    by: Annotated[str, Field(max_length=512, examples=["team,day"])] | None = None
    team: Text | None = None
    key: Text | None = None
    model: Text | None = None


class Usage(Strict):
    """Tokens and costs as `/v1/usage` tells a key of its own."""

    object: Literal["usage"]
    since: Moment
    until: Moment
    by: list[str]
    where: dict[str, str]
    data: list[dict[str, Any]]
    total: dict[str, Cell]


class Costs(Strict):
    """The report of `gateway costs --json`. Amounts are text; null is unknown, and never zero."""

    since: Moment
    until: Moment
    totals: dict[str, Cell]
    rows: list[dict[str, Cell]]
    notes: list[str]


class Replica(Strict):
    """A replica, or a provider. Null: not known."""

    replica: str
    pool: str
    address: str
    draining: bool
    in_flight: int | None
    breaker_open: bool | None
    up: bool | None
    asleep: bool | None
    kv_usage: float | None
    waiting: int | None


class Replicas(Strict):
    """Every replica."""

    data: list[Replica]


class Refusal(Strict):
    """Why what is written was refused, and when."""

    at: Moment
    reason: str


class Configuration(Strict):
    """What serves, by the digest that `gateway check` prints. `refusal` is the last reading's; null: it serves."""

    version: str
    config_digest: str
    refusal: Refusal | None


class Explanation(Strict):
    """How a request was decided, and whether the same inputs come to the same now: `gateway explain ID --json`."""

    request_id: str
    started_at: float
    model: str
    release: str
    replica: str | None
    attempts: int
    outcome: str
    config_digest: str | None
    same: bool
    rules: list[dict[str, Any]]
    queued_s: float
    routes: list[dict[str, Any]]


class Detail(Strict):
    """What was expected, what was found, what to do."""

    message: str
    type: str
    param: str | None
    code: str


class Failure(Strict):
    """An error, in the shape of all errors of this gateway."""

    error: Detail
