# The base is Debian with Debian's Python, so that tests/deploy can build this file from Debian's archive
# alone, without an image registry.

# The digest of the index of all architectures. Renovate updates both lines if they stay together.
ARG BASE=docker.io/library/debian:trixie-slim
ARG BASE_DIGEST=sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f

# Set for a release; empty in a manual build.
ARG VERSION=
ARG REVISION=
ARG CREATED=


FROM ${BASE}@${BASE_DIGEST} AS python

# Packages are not pinned: the archive removes a version when its successor appears.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/ldconfig /var/log/apt /var/log/dpkg.log


FROM python AS build

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils python3-pip \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
COPY deploy/image ./

# To use your own package index, pass its configuration as a secret, which stays out of the image:
#   docker build --secret id=pip_conf,src=$HOME/.config/pip/pip.conf .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python3 -m venv --without-pip /opt/loadfleet \
    && python3 -m venv --without-pip /opt/build \
    && pip --python /opt/loadfleet/bin/python install --no-cache-dir \
        --require-hashes --no-deps --only-binary=:all: --requirement runtime.txt \
    && pip --python /opt/build/bin/python install --no-cache-dir \
        --require-hashes --no-deps --only-binary=:all: --requirement build.txt

# Debug symbols are more than a quarter of the installed wheels.
RUN find /opt/loadfleet -name '*.so*' -exec strip --strip-debug {} +

COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
COPY deploy/runbooks deploy/runbooks
ARG REVISION
RUN printf '%s' "$REVISION" > exporter/REVISION \
    && /opt/build/bin/python -m hatchling build --target wheel \
    && pip --python /opt/loadfleet/bin/python install --no-cache-dir \
        --no-deps --no-index dist/*.whl \
    && ./sbom /opt/build/bin /opt/loadfleet /opt/loadfleet/loadfleet-exporter.cdx.json


FROM python

COPY --from=build /opt/loadfleet /opt/loadfleet

# The only folder that the user can write to, for a volume with the state. A named volume takes its
# owner from this folder.
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/loadfleet

# The root file system may be read-only, since all modules are compiled.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/loadfleet/bin:$PATH

# The default configuration file is thus /etc/loadfleet/loadfleet.yml.
WORKDIR /etc/loadfleet

# Numeric, so that Kubernetes can verify that the user is not root.
USER 65532:65532

EXPOSE 10871

# A direct connection, whatever proxy is set for the vendors. With TLS or another port, override it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["/opt/loadfleet/bin/python", "-I", "-S", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 10871, timeout=4); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["/opt/loadfleet/bin/loadfleet-exporter"]

# Last, since they differ in every build and would invalidate cached layers.
ARG BASE
ARG BASE_DIGEST
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="loadfleet-exporter" \
      org.opencontainers.image.description="Prometheus exporter for load-testing fleets: Real Load, BlazeMeter and Eggplant DAI" \
      org.opencontainers.image.url="https://github.com/loadfleet/loadfleet-exporter" \
      org.opencontainers.image.source="https://github.com/loadfleet/loadfleet-exporter" \
      org.opencontainers.image.documentation="https://github.com/loadfleet/loadfleet-exporter#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
