# The operator's image, which is also the image of its Jobs. Built by `docker build .`, or by
# tests/e2e/cluster, which passes what the host has (PIP_* settings, CA bundle, a base of its own where
# no registry can be reached). BASE_IMAGE needs python3 with venv, and CA certificates.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_WARN_SCRIPT_LOCATION=1
# Two environments: pip and hatchling stay behind in the one that builds.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/venv
COPY tools/image-build.lock requirements.lock /build/
RUN /opt/build/bin/pip install --quiet --require-hashes --only-binary :all: -r /build/image-build.lock \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --require-hashes --only-binary :all: -r /build/requirements.lock \
 # Every Job starts this image: compiled once here, and never compared with its source again.
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM dependencies AS application
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
# Two steps, since pip builds with the interpreter that it installs for, which has no hatchling.
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --root /staging /wheels/*.whl \
 && /opt/venv/bin/python -m compileall -q -s /staging --invalidation-mode unchecked-hash /staging/opt/venv/lib

# What Temporal's development server needs besides, which is 150 MB and in one image only (below).
FROM dependencies AS temporal
COPY tools/dev-server.lock /build/
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --require-hashes --only-binary :all: --root /staging -r /build/dev-server.lock

FROM ${BASE_IMAGE} AS runtime
# Some bases come without the standard library's bytecode, and a read-only container cannot add it.
RUN python3 -c "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, workers=0)"
COPY --from=dependencies /opt/venv /opt/venv
# No home and no name of its own are needed, but a few libraries ask for them, and this user has no passwd entry.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp USER=workflow-runner PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/workflow-runner"]

# `docker build --target dev-server .`: the chart's temporal.dev, which is not for production.
FROM runtime AS dev-server
COPY --from=temporal /staging/opt/venv /opt/venv
COPY --from=application /staging/opt/venv /opt/venv

FROM runtime
# A layer of its own: a change of our source moves this one only.
COPY --from=application /staging/opt/venv /opt/venv
