# PostgreSQL and Redis out of Debian, in place of their makers' images, for docker/verify.sh alone.
ARG BASE_IMAGE=debian:12-slim
FROM ${BASE_IMAGE} AS postgres
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 999 -g 999 -m 0700 /var/lib/postgresql/data
COPY postgres.sh /usr/local/bin/postgres.sh
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
USER 999:999
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres.sh"]

FROM ${BASE_IMAGE} AS redis
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 999 -g 999 -m 0700 /data
WORKDIR /data
USER 999:999
ENTRYPOINT ["redis-server"]
