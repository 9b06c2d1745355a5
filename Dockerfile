# The image, for linux/arm64 and linux/amd64. The compiler runs on the machine's own architecture and cross-compiles
# for the other one, so nothing is emulated:
#
#   docker buildx build --platform linux/arm64,linux/amd64 --build-arg VERSION=0.1.0 \
#     --build-arg REVISION="$(git rev-parse HEAD)" --tag firemain:0.1.0 .
#
# .ci/image does these steps without a container engine, reads them from here, and tries what comes of them.
# The digests are of the indexes of all architectures: `docker buildx imagetools inspect IMAGE:TAG` tells the newest.

FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
# Cargo and the C parts (aws-lc, jemalloc, libdeflate, zstd) take the compiler of the target by its full name.
# jemalloc asks the machine that builds for its page size: the machine that runs has 4 KiB.
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    JEMALLOC_SYS_WITH_LG_PAGE=12
ARG TARGETARCH
# Debian's packages stay unpinned: it keeps no older version than the newest, which has its security fixes.
# hadolint ignore=DL3008,SC2086
RUN case "$TARGETARCH" in \
      amd64) cpu=x86_64 cross="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
      arm64) cpu=aarch64 cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      *) echo "there is no image for the architecture '$TARGETARCH': build for linux/amd64 or linux/arm64" >&2; exit 1 ;; \
    esac \
    && if [ "$(uname -m)" = "$cpu" ]; then cross=""; fi \
    && apt-get update \
    && apt-get install --yes --no-install-recommends make $cross \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$cpu-unknown-linux-gnu" \
    && echo "$cpu-unknown-linux-gnu" > /target
WORKDIR /build
# The dependencies alone, in a layer that stays until one of these files changes: the crate itself is empty. Cargo.toml
# names the benches, so they have to be there.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --release --target "$(cat /target)"
COPY schemas schemas
COPY src src
# A file that is older than the empty one before it would count as built.
RUN touch src/lib.rs src/main.rs \
    && cargo build --locked --release --target "$(cat /target)" \
    && install -D "target/$(cat /target)/release/firemain" /image/firemain

# glibc, libgcc and the CA certificates that rustls asks the system for; no shell, no package manager. Not musl: the bound
# on memory was measured with glibc, whose malloc the C parts still use (docs/decisions/0005-allocator.md).
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="firemain" \
      org.opencontainers.image.description="CloudWatch Logs off a Kinesis data stream into S3, exactly once, ready for Athena" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/firemain /usr/local/bin/firemain
WORKDIR /
# `nonroot`, by number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Scratch, for who mounts some there: a volume takes over whose it is, so that `nonroot` may write to it.
VOLUME ["/tmp"]
# It commits what it holds, for at most shutdown_timeout, and ends.
STOPSIGNAL SIGTERM
# ECS wants it in the task definition, and Kubernetes as a probe.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["/usr/local/bin/firemain", "health"]
# It writes no file but where the configuration says so: the root file system may be read-only.
ENTRYPOINT ["/usr/local/bin/firemain"]
CMD ["run"]
