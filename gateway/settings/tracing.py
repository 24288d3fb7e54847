"""Where traces go, and of how many requests."""

from typing import Annotated

from pydantic import Field

from gateway.contracts import documents


class TracingConfig(documents.Frozen):
    """A collector of OpenTelemetry that takes OTLP over HTTP.

    `endpoint` is its address, to which `/v1/traces` is added. `sample` is the part of requests that is recorded where
    the client does not say; one that says is followed. `service` is the name under which they stand there. `timeout` in
    seconds, for one batch. A secret that the collector wants stands in $OTEL_EXPORTER_OTLP_HEADERS.
    """

    endpoint: Annotated[str, Field(pattern=r"^https?://[^@?#\s]+$")]
    sample: Annotated[float, Field(ge=0, le=1)] = 0.1
    service: Annotated[str, Field(min_length=1)] = "tollgate"
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0

    @property
    def url(self) -> str:
        """Where batches go."""
        return f"{self.endpoint.rstrip('/')}/v1/traces"
