# The chat server. The image contains its binary and the C library: no shell, no package manager, no root user.
# Both Dockerfiles start with exactly the same stages, so that the second build takes them from the cache.
FROM rust:1.95-bookworm AS dependencies
WORKDIR /build
# `release`, or `quick`, which builds in a third of the time.
ARG PROFILE=release
# The image needs no line tables and no symbols; a panic message contains file and line without them.
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols
COPY Cargo.toml Cargo.lock ./
COPY actors/Cargo.toml actors/
COPY process/Cargo.toml process/
COPY protocol/Cargo.toml protocol/
COPY benches/fanout/Cargo.toml benches/fanout/
COPY bot-swarm/Cargo.toml bot-swarm/
COPY clients/rust/Cargo.toml clients/rust/
COPY fuzz/Cargo.toml fuzz/
COPY test-kit/Cargo.toml test-kit/
# Builds the dependencies in a layer of their own: empty packages replace the workspace's, and are removed afterwards.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    mkdir -p src benches/fanout/src actors/src actors/benches process/src protocol/src bot-swarm/src clients/rust/src fuzz/src test-kit/src \
    && touch benches/history.rs benches/nodes_log.rs actors/benches/message.rs actors/benches/stored.rs benches/fanout/src/main.rs src/lib.rs actors/src/lib.rs process/src/lib.rs protocol/src/lib.rs bot-swarm/src/lib.rs clients/rust/src/lib.rs fuzz/src/lib.rs test-kit/src/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs >bot-swarm/src/main.rs \
    && cargo build --locked --profile "$PROFILE" -p starling -p bot-swarm --bins \
    && cargo clean --profile "$PROFILE" -p starling -p starling-actors -p starling-process -p starling-protocol -p bot-swarm

FROM dependencies AS build
COPY src src
COPY actors/src actors/src
COPY process/build.rs process/
COPY process/src process/src
COPY protocol/src protocol/src
COPY bot-swarm/src bot-swarm/src
COPY web web
# The page has a link to it.
COPY clients/js/starling.js clients/js/
COPY docs/asyncapi.yaml docs/
# The commit that `starling --version` names; the repository is not part of the build.
ARG STARLING_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    cargo build --locked --profile "$PROFILE" -p starling -p bot-swarm --bins \
    && mkdir -p /out/data \
    && mv "target/$PROFILE/starling" "target/$PROFILE/bot-swarm" /out

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="starling" \
      org.opencontainers.image.description="A chat server made of actors, and the figures that show where it gives way" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/starling /usr/local/bin/starling
# A new volume that is mounted here takes over this owner.
COPY --from=build --chown=65532:65532 /out/data /data
ENV CHAT_BIND=0.0.0.0:8080 CHAT_HISTORY_PATH=/data/starling.db
USER 65532:65532
EXPOSE 8080
VOLUME /data
# On SIGTERM it refuses new connections, tells every client, and ends when they have left, after CHAT_DRAIN_SECONDS at
# most.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["starling", "healthcheck"]
ENTRYPOINT ["starling"]
