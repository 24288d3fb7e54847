"""What the admin API refuses beside what the tree of errors has: leaves of it that no client of a model ever sees."""

from gateway.contracts.errors import RequestError


class NotThere(RequestError):
    """No key, release or request of that name."""

    status = 404
    code = "not_found"
    kind = "invalid_request_error"


class Conflict(RequestError):
    """What is asked for does not go with what the gateway is or has: its configuration, or a gate."""

    status = 409
    code = "conflict"
    kind = "invalid_request_error"


class GateClosed(Conflict):
    """The release has no verdict that lets traffic reach it."""

    code = "release_not_gated"


class WrongType(RequestError):
    """A change comes as JSON, and says so: then no web page can send it for its visitor unasked."""

    status = 415
    code = "unsupported_media_type"
    kind = "invalid_request_error"


class Impatient(RequestError):
    """Too many wrong tokens wait for their answer."""

    status = 429
    code = "too_many_failures"
    kind = "authentication_error"


class StoreAway(RequestError):
    """The database or the counters cannot be asked now."""

    status = 503
    code = "store_unavailable"
