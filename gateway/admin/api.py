"""The admin API as an application, behind its guard: pages, errors, and its own description at /openapi.json."""

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.admin import answers
from gateway.admin.errors import Conflict, WrongType
from gateway.admin.guard import CHANGES, App, Guard
from gateway.admin.handlers import Handlers
from gateway.admin.house import House
from gateway.admin.tokens import Tokens
from gateway.contracts.envelopes import envelope
from gateway.contracts.errors import (
    InputError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    RequestError,
    RouteNotFound,
)

JSON = "application/json"
REFUSALS = {
    400: "The body or a parameter is not what the page takes.",
    401: "No token, or an unknown one.",
    403: "The token may only read, or a browser asks for another site.",
    404: "There is no such thing.",
    405: "The page takes other methods.",
    409: "It does not go with the configuration, or with a gate.",
    413: "The body is too large.",
    415: "A change is sent as `content-type: application/json`.",
    429: "Too many wrong tokens.",
    503: "The database or the counters cannot be asked now.",
}
SUMMARY = """What `gateway keys`, `releases`, `budgets`, `costs` and `explain` do, for programs.

Every page needs a token (`Authorization: Bearer TOKEN`). What changes something needs one with the role `write`, comes
as JSON, and stands in the log with the token's name."""


def build(house: House, tokens: Tokens, count: Callable[[str], None], **patience: Any) -> App:
    """The guarded application; `patience` is the guard's."""
    return Guard(described(house), tokens, count, **patience)


def described(house: House) -> FastAPI:
    """The application alone. It asks nobody who they are."""
    api = FastAPI(
        title="Tollgate: admin API",
        version=__version__,
        description=SUMMARY,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(_as_json)],
        responses={status: {"model": answers.Failure, "description": text} for status, text in REFUSALS.items()},
    )
    _route(api, Handlers(house))
    described = api.openapi

    def openapi() -> dict[str, Any]:
        """As FastAPI makes it, with what the guard asks for, and without an answer that is never given."""
        found = described()
        found.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
        for page in found["paths"].values():
            for operation in page.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            found["components"].get("schemas", {}).pop(unused, None)
        return found

    api.openapi = openapi  # type: ignore[method-assign]
    for error, answer in (
        (HTTPException, _not_here),
        (RequestValidationError, _mistaken),
        (RequestError, _refused),
        (InputError, _unusable),
        (Exception, _broken),
    ):
        api.add_exception_handler(error, answer)
    return api


def _route(api: FastAPI, pages: Handlers) -> None:
    for method, path, page, told in (
        ("GET", "/v1/keys", pages.keys, answers.KeyPage),
        ("GET", "/v1/keys/{key_id}", pages.key, answers.Key),
        ("PATCH", "/v1/keys/{key_id}", pages.change_key, answers.Key),
        ("POST", "/v1/keys/{key_id}/revoke", pages.revoke_key, answers.Key),
        ("GET", "/v1/releases", pages.releases, answers.Releases),
        ("POST", "/v1/releases/promote", pages.promote, answers.Release),
        ("GET", "/v1/budgets", pages.budgets, answers.Budgets),
        ("GET", "/v1/usage", pages.usage, answers.Usage),
        ("GET", "/v1/costs", pages.costs, answers.Costs),
        ("GET", "/v1/replicas", pages.replicas, answers.Replicas),
        ("GET", "/v1/config", pages.config, answers.Configuration),
        ("POST", "/v1/config/reload", pages.reload, answers.Configuration),
        ("GET", "/v1/requests/{request_id}", pages.request, answers.Explanation),
    ):
        api.add_api_route(path, page, methods=[method], response_model=told)
    api.add_api_route("/v1/keys", pages.create_key, methods=["POST"], response_model=answers.MadeKey, status_code=201)


async def _as_json(request: Request) -> None:
    """Raises WrongType for a change that does not come as JSON."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in CHANGES and found != JSON:
        raise WrongType(f"expected the header `content-type: {JSON}`, found {found[:64]!r}")


def _answer(error: RequestError, headers: dict[str, str] | None = None) -> Response:
    given = dict(headers or {})
    if error.retry_after is not None:
        given["retry-after"] = str(error.retry_after)
    return Response(envelope(error), status_code=error.status, media_type=JSON, headers=given)


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == MethodNotAllowed.status:
        headers = dict(error.headers or {})
        return _answer(MethodNotAllowed(f"{path} does not take {request.method}"), headers)
    if error.status_code == RouteNotFound.status:
        return _answer(RouteNotFound(f"no such page {path!r}: /openapi.json describes those that there are"))
    return _answer(InvalidRequest(f"the body cannot be read: expected JSON as /openapi.json describes it for {path}"))


async def _mistaken(_request: Request, error: Exception) -> Response:
    """The first mistake. What was written is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return _answer(InvalidRequest(str(first["msg"]), param=param))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _answer(error)


async def _unusable(_request: Request, error: Exception) -> Response:
    """A file of the operator's, or what is stored, is not usable as it is."""
    return _answer(Conflict(str(error)))


async def _broken(_request: Request, _error: Exception) -> Response:
    return _answer(InternalError("a defect of the gateway: its log says where"))
