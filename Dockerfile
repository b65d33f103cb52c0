# One image for every service of docker-compose.yaml but PostgreSQL. See docs/deployment.md.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ARG UV_VERSION=0.13.8
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
WORKDIR /src
RUN uv venv /opt/venv

# The lock alone, so that a change of our own code does not install the stack again. What source distributions are
# built with comes from the same lock.
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --require-hashes --build-constraints requirements.txt --requirements requirements.txt

# A wheel and not an editable install: Dask and Spark workers import `jobs` and `model_registry` from site-packages.
COPY pyproject.toml README.md LICENSE ./
COPY jobs jobs
COPY model_registry model_registry
COPY lamplighter lamplighter
COPY plugins plugins
RUN uv build --wheel --require-hashes --build-constraints requirements.txt --out-dir /dist . \
    && uv pip install --no-deps /dist/*.whl


FROM ${PYTHON_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*

# Named volumes take the owner of the folder that they first cover.
RUN useradd --uid 50000 --create-home --shell /usr/sbin/nologin lamplighter \
    && install --directory --owner lamplighter --group lamplighter \
        /opt/airflow /opt/airflow/logs /var/lib/lamplighter /var/lib/mlflow

COPY --from=builder /opt/venv /opt/venv
COPY dags /opt/lamplighter/dags
COPY plugins /opt/lamplighter/plugins
COPY models /opt/lamplighter/models

# PYSPARK_PYTHON: without it Spark's workers look for a python3 of their own and miss the packages.
# GIT_PYTHON_REFRESH: MLflow asks for git, and there is none here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYSPARK_PYTHON=/opt/venv/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/venv/bin/python \
    GIT_PYTHON_REFRESH=quiet \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/lamplighter/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/lamplighter/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    LAMPLIGHTER_HOME=/var/lib/lamplighter \
    LAMPLIGHTER_MODELS=/opt/lamplighter/models \
    LAMPLIGHTER_DATA=/var/lib/lamplighter/data \
    LAMPLIGHTER_TABLES=/var/lib/lamplighter/tables \
    LAMPLIGHTER_WORK=/var/lib/lamplighter/work \
    LAMPLIGHTER_CACHE=/var/lib/lamplighter/cache \
    LAMPLIGHTER_SNAPSHOTS=/var/lib/lamplighter/snapshots

# Spark's Java starts in half the time from an archive of the classes that it loads.
RUN python -c "from jobs.engines.java_archive import make; make()"

# Last, because it changes with every commit.
ARG LAMPLIGHTER_CODE_VERSION=unknown
ENV LAMPLIGHTER_CODE_VERSION=${LAMPLIGHTER_CODE_VERSION}

USER lamplighter
# Numba keeps what it compiles in the user's own cache: no scoring process has to compile at night.
RUN python -c "from jobs.compiled.predictor import warm; warm()"
WORKDIR /opt/airflow
EXPOSE 8080
CMD ["airflow", "version"]
