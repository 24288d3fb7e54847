"""The error tree, and how a client sees it.

    TollgateError
    ├── RequestError               answered to a client in its API's envelope
    │   ├── InvalidRequest         400  invalid_request
    │   │   └── ContextLengthExceeded   context_length_exceeded
    │   ├── BodyTooLarge           413  body_too_large
    │   ├── InvalidKey             401  invalid_api_key
    │   ├── PermissionDenied       403  permission_denied
    │   ├── ModelNotFound          404  model_not_found
    │   ├── RouteNotFound          404  unknown_url
    │   ├── MethodNotAllowed       405  method_not_allowed
    │   ├── RateLimited            429  rate_limit_exceeded
    │   ├── BudgetExceeded         429  budget_exceeded
    │   ├── BudgetUnavailable      503  budget_unavailable
    │   ├── QueueFull              429  queue_full
    │   ├── QueueTimeout           503  queue_timeout
    │   ├── ReleaseNotGated        503  release_not_gated
    │   ├── UpstreamUnavailable    503  upstream_unavailable
    │   ├── UpstreamOverloaded     503  upstream_overloaded
    │   ├── UpstreamFailed         502  upstream_failed
    │   ├── UpstreamTimeout        504  upstream_timeout
    │   ├── LedgerFull             503  ledger_full
    │   ├── GatewayStopping        503  gateway_stopping
    │   └── InternalError          500  internal_error
    └── InputError                 an operator's file, flag or stored state is wrong
        ├── DocumentError          a file, with the line and the key
        ├── PriceMissing
        ├── ManifestError
        └── VerdictError

Each class knows its status and its code. `contracts/envelopes.py` alone makes bytes of an error, in the dialect of the
API that was asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class TollgateError(Exception):
    """Base of everything that Tollgate raises on purpose."""


class RequestError(TollgateError):
    """An error that one client's request caused or met.

    `message` says what was expected, what was found and what to do; `param` names the field of the body, if one is
    at fault; `retry_after` is in whole seconds and becomes the header of that name.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    kind: ClassVar[str] = "server_error"
    passes: bool = True
    """Whether asking again may help, where the status alone would say that it does."""

    def __init__(self, message: str, *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(RequestError):
    """The body or a parameter is not what the endpoint takes."""

    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class ContextLengthExceeded(InvalidRequest):
    """Prompt and answer together do not fit the model's context."""

    code = "context_length_exceeded"


class BodyTooLarge(InvalidRequest):
    """The body is larger than the gateway admits."""

    status = 413
    code = "body_too_large"


class InvalidKey(RequestError):
    """No virtual key, a malformed one, an unknown, expired or revoked one."""

    status = 401
    code = "invalid_api_key"
    kind = "authentication_error"


class PermissionDenied(RequestError):
    """The key is good, and may not do this."""

    status = 403
    code = "permission_denied"
    kind = "permission_error"


class ModelNotFound(RequestError):
    """The model does not exist here, or not for this key."""

    status = 404
    code = "model_not_found"
    kind = "invalid_request_error"


class RouteNotFound(RequestError):
    """The path is none of the gateway's."""

    status = 404
    code = "unknown_url"
    kind = "invalid_request_error"


class MethodNotAllowed(RequestError):
    """The path exists, with another method."""

    status = 405
    code = "method_not_allowed"
    kind = "invalid_request_error"


class RateLimited(RequestError):
    """A limit of the key or of its team is used up.

    `limit` names it (`key.requests`, `team.tokens`, `team.concurrency` …), for metrics. A request that is larger than
    the whole limit never passes: it has no `retry_after`, and `passes` is False.
    """

    status = 429
    code = "rate_limit_exceeded"
    kind = "rate_limit_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        limit: str = "",
        passes: bool = True,
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)
        self.limit = limit
        self.passes = passes


class BudgetExceeded(RequestError):
    """The request may cost more than a budget has left.

    `left` is the amount, `resets` the moment (ISO 8601, or `never`). Where running requests hold what is missing it
    passes soon; else asking again is of no use, and `passes` is False.
    """

    status = 429
    code = "budget_exceeded"
    kind = "insufficient_quota"
    budget = left = resets = ""


class BudgetUnavailable(RequestError):
    """What is left of the request's budgets cannot be told now."""

    status = 503
    code = "budget_unavailable"


class QueueFull(RequestError):
    """As many requests wait as may wait."""

    status = 429
    code = "queue_full"
    kind = "rate_limit_error"


class QueueTimeout(RequestError):
    """The request waited for its turn for as long as it may."""

    status = 503
    code = "queue_timeout"


class ReleaseNotGated(RequestError):
    """The model's release has no verdict that lets traffic reach it. That takes an operator, not another try."""

    status = 503
    code = "release_not_gated"
    passes = False


class UpstreamUnavailable(RequestError):
    """No replica could be reached."""

    status = 503
    code = "upstream_unavailable"


class UpstreamOverloaded(RequestError):
    """Every replica sheds load."""

    status = 503
    code = "upstream_overloaded"


class UpstreamFailed(RequestError):
    """A replica answered with an error of its own, with garbage, or died in the middle."""

    status = 502
    code = "upstream_failed"


class UpstreamTimeout(RequestError):
    """A replica did not answer in time."""

    status = 504
    code = "upstream_timeout"


class LedgerFull(RequestError):
    """The request cannot be recorded: its disk is full, and what is not recorded is not served."""

    status = 503
    code = "ledger_full"


class GatewayStopping(RequestError):
    """The gateway ends, and its grace is over: what still runs is cut."""

    status = 503
    code = "gateway_stopping"


class InternalError(RequestError):
    """A defect of the gateway. The message carries nothing of the request."""


REQUEST_ERRORS: tuple[type[RequestError], ...] = (
    InvalidRequest, ContextLengthExceeded, BodyTooLarge, InvalidKey, PermissionDenied, ModelNotFound, RouteNotFound,
    MethodNotAllowed, RateLimited, BudgetExceeded, BudgetUnavailable, QueueFull, QueueTimeout, ReleaseNotGated,
    UpstreamUnavailable, UpstreamOverloaded, UpstreamFailed, UpstreamTimeout, LedgerFull, GatewayStopping,
    InternalError,
)  # fmt: skip


def let_go(error: BaseException) -> None:
    """Drop the frames that an error and its causes hold: one of them mostly holds the error, another a whole body."""
    each: BaseException | None = error
    while each is not None:
        cause = each.__cause__ or each.__context__
        each.__traceback__ = each.__cause__ = each.__context__ = None
        each = cause


class InputError(TollgateError):
    """Something that an operator wrote, or that lies on disk, is not usable as it is."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a file: where, and what is wrong with it."""

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", {self.key}" if self.key else "")
        return f"{where}: {self.message}"


class DocumentError(InputError):
    """A file that does not read, parse or validate. Carries every mistake found, not only the first.

    `note` says what was not looked at.
    """

    def __init__(self, path: str, mistakes: Sequence[Mistake], note: str = "") -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join([*(f"{path}: {mistake}" for mistake in self.mistakes), *([note] if note else [])]))


class PriceMissing(InputError):
    """A model has no price, and nothing says that it may go unpriced."""


class ManifestError(InputError):
    """A release manifest is not what it claims to be."""


class VerdictError(InputError):
    """A verdict is malformed, unsigned, signed by a stranger, expired, or about something else."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details
