# The Omniglot trainer, the demo of deploy/compose: docker build -f deploy/image/trainer.Dockerfile -t evoke-trainer .

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
WORKDIR /evoke
COPY deploy/packages.sh deploy/
RUN deploy/packages.sh trainer && rm -rf /var/lib/apt/lists/*

# The client is made in a stage of its own: neither protoc nor pip is needed to train.
FROM base AS python
RUN deploy/packages.sh python && rm -rf /var/lib/apt/lists/*
COPY deploy/python_env.sh deploy/
COPY proto proto
COPY client/python client/python
RUN deploy/python_env.sh /opt/evoke

FROM base AS trainer
ARG EVOKE_VERSION=0.1.0
LABEL org.opencontainers.image.title="Evoke trainer" \
      org.opencontainers.image.description="One-shot recognition of characters, learned through an Evoke server" \
      org.opencontainers.image.version="${EVOKE_VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN install --directory --owner=65532 --group=65532 /out /data
COPY --from=python /opt/evoke /opt/evoke
COPY deploy/image/train.sh deploy/
COPY client/trainers client/trainers
USER 65532:65532
WORKDIR /evoke/client
ENV PATH=/opt/evoke/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp HOME=/tmp
VOLUME ["/out"]
ENTRYPOINT ["/evoke/deploy/train.sh"]
