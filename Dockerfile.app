# The app image: app/, the gate and what they need. No engine, no Alembic: this image cannot change a schema.
# PYTHON_IMAGE may be any image with Python 3.11 or newer, pip and venv.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# The environment gets no pip of its own: nothing is installed at run time.
RUN python -m venv --without-pip /opt/venv && python -m venv --without-pip /opt/build
COPY requirements/build.txt requirements/app.txt /tmp/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/venv/bin/python install --no-compile --require-hashes \
        --requirement /tmp/requirements/app.txt \
    # What builds our own packages stays in this stage.
    && python -m pip --python /opt/build/bin/python install --no-compile --require-hashes \
        --requirement /tmp/requirements/build.txt \
    # Compiled once, here: the image is read-only when it runs, and what is compiled in it never goes stale.
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
# The gate, installed as anybody would; everything it needs is there already.
COPY gate/ /tmp/gate/
RUN python -m pip --python /opt/build/bin/python wheel --quiet --no-deps --no-index --no-build-isolation \
        --wheel-dir /tmp/dist /tmp/gate \
    && python -m pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index /tmp/dist/*.whl \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY app/ /srv/app/
# The image holds no revision, only the ids of the last ones: its pre-deploy asks whether they have been applied.
COPY migrator/versions/ /tmp/versions/
RUN PYTHONDONTWRITEBYTECODE=1 /opt/venv/bin/python -m lockstep_gate revisions /tmp/versions >/srv/app/revisions.txt
RUN chmod -R a+rX /srv && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /srv

FROM ${PYTHON_IMAGE}
# A user of its own with nothing to own; group 1000, because that is who may read Render's secret files.
RUN groupadd --gid 1000 lockstep \
    && useradd --uid 10001 --gid 1000 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv /srv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOCKSTEP_CONTRACT=/srv/app/storage/models.py \
    LOCKSTEP_REVISIONS=/srv/app/revisions.txt \
    PORT=8000
WORKDIR /srv
USER 10001:1000
EXPOSE 8000
# No ENTRYPOINT: a platform that replaces the command would otherwise have to know of it.
CMD ["python", "-m", "app"]
LABEL org.opencontainers.image.title="lockstep-app" \
      org.opencontainers.image.description="Users and organisations over HTTP, on a schema the migrator has recorded"
# Last, because it changes with every commit. Render hands it over under this name.
ARG RENDER_GIT_COMMIT
ENV IMAGE_COMMIT=${RENDER_GIT_COMMIT}
LABEL org.opencontainers.image.revision=${RENDER_GIT_COMMIT}
