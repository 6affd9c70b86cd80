# Evoke as an image: four programs, the shared libraries that they load, those libraries' licences, and nothing else: no
# shell, no package manager, no root.
#
#   docker build --target runtime -t evoke .            evoked; --entrypoint evokectl, evoke-load or evoke-inspect
#   docker build --target test .                        the unit tests, compiled as the image's programs are
#
# The trainer of the demo is deploy/image/trainer.Dockerfile. Nothing here needs BuildKit; without it every stage before the
# one that is named is made, and all when none is. --build-arg EVOKE_COMMIT="$(git rev-parse --short HEAD)": what evoked and
# the label call the commit.
#
# The GPU variant: --build-arg EVOKE_GPU=ON --build-arg BUILD_BASE=IMAGE, a Debian 12 with the CUDA toolkit in it. FAISS is
# then built from Debian's source package. The driver comes from the host, by the NVIDIA container toolkit.

ARG BUILD_BASE=debian:bookworm-slim

# What compiles it. A layer of its own: it changes with the list of packages, not with the source.
FROM ${BUILD_BASE} AS dependencies
ARG EVOKE_GPU=OFF
WORKDIR /evoke
COPY deploy/packages.sh deploy/build_faiss_gpu.sh deploy/
RUN deploy/packages.sh build && rm -rf /var/lib/apt/lists/*
RUN case "$EVOKE_GPU" in \
      OFF) ;; \
      ON) deploy/build_faiss_gpu.sh ;; \
      *) echo "EVOKE_GPU is ON or OFF, not $EVOKE_GPU" >&2; exit 2 ;; \
    esac

# Only what is shipped is compiled.
FROM dependencies AS build
ARG EVOKE_GPU=OFF
ARG EVOKE_JOBS=
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY proto proto
COPY storage storage
COPY server server
COPY client/CMakeLists.txt client/CMakeLists.txt
COPY client/cpp client/cpp
COPY client/cli client/cli
COPY client/load client/load
RUN gpu=; [ "$EVOKE_GPU" = OFF ] || gpu=-DEVOKE_GPU=ON; \
    cmake --preset release -DEVOKE_TESTS=OFF -DEVOKE_BENCH=OFF $gpu && \
    cmake --build --preset release --parallel "${EVOKE_JOBS:-$(nproc)}" --target evoked evokectl evoke-load evoke-inspect
# In a step of its own, so that a commit that changes no source compiles no more than the few files that name it.
ARG EVOKE_COMMIT=unknown
RUN cmake --preset release -DEVOKE_COMMIT="$EVOKE_COMMIT" && cmake --build --preset release --target evoked

# The root of the image as a folder: see the script. It runs each program in there, so that none lacks a library.
FROM build AS root
ARG EVOKE_VERSION=0.1.0
COPY deploy/image/make_root.sh deploy/image/
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* && \
    deploy/image/make_root.sh /image build/release/bin/evoked build/release/bin/evokectl build/release/bin/evoke-load \
      build/release/bin/evoke-inspect && \
    chroot /image evoked --version | grep -F "evoked $EVOKE_VERSION (" && \
    mkdir -m 0750 /empty   # the label below says the same version

FROM scratch AS runtime
ARG EVOKE_VERSION=0.1.0
ARG EVOKE_COMMIT=unknown
LABEL org.opencontainers.image.title="Evoke" \
      org.opencontainers.image.description="A server of life-long memories for neural networks" \
      org.opencontainers.image.version="${EVOKE_VERSION}" \
      org.opencontainers.image.revision="${EVOKE_COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="scratch"
COPY --from=root /image /
COPY deploy/image/evoked.toml /etc/evoke/evoked.toml
# Made here and not above: COPY gives an owner to what it makes only. Named volumes take owner and mode from these.
COPY --from=root --chown=65532:65532 /empty /var/lib/evoke
COPY --from=root --chown=65532:65532 /empty /var/backups/evoke
# By number: an orchestrator that demands "not root" cannot look names up.
USER 65532:65532
ENV PATH=/usr/bin EVOKE_CONFIG=/etc/evoke/evoked.toml NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME ["/var/lib/evoke", "/var/backups/evoke"]
EXPOSE 7380 7381
# Drains for up to EVOKE_DRAIN_TIMEOUT (30 s): give `docker stop` more than that.
STOPSIGNAL SIGTERM
# Loading a large memory is no failure, so the start may take long; the first success ends it.
HEALTHCHECK --interval=5s --timeout=5s --start-period=10m --retries=3 CMD ["evokectl", "health", "--wait", "--timeout", "4s"]
ENTRYPOINT ["evoked"]

# The unit tests of what was compiled above, by the same compiler against the same libraries.
FROM build AS test
ARG EVOKE_JOBS=
RUN deploy/packages.sh test && rm -rf /var/lib/apt/lists/*
COPY deploy deploy
COPY tests tests
RUN cmake --preset release -DEVOKE_TESTS=ON && \
    cmake --build --preset release --parallel "${EVOKE_JOBS:-$(nproc)}" --target \
      $(ctest --test-dir build/release --show-only --label-regex '^unit$' | sed -n 's/^ *Test *#[0-9]*: *//p') && \
    ctest --test-dir build/release --label-regex '^unit$' --output-on-failure --no-tests=error \
      --parallel "${EVOKE_JOBS:-$(nproc)}"
