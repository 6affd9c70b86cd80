#!/usr/bin/env bash
# A Docker engine of one's own, for where none runs as a service: as root, engine.sh start FOLDER, engine.sh stop FOLDER.
#
# All of it is in FOLDER, its socket too; start prints the DOCKER_HOST to export. No registry is asked: what images of
# Debian are made from is made by debootstrap. Packages: deploy/packages.sh docker.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 start|stop FOLDER" >&2; exit 2; }
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export DOCKER_HOST=unix://$folder/docker.sock

case "$1" in
  start)
    if ! docker info >/dev/null 2>&1; then
      setsid nice dockerd --data-root "$folder/data" --exec-root "$folder/exec" --host "$DOCKER_HOST" \
        --pidfile "$folder/pid" </dev/null >"$folder/log" 2>&1 &
      for ((i = 0; i < 100; ++i)); do
        docker info >/dev/null 2>&1 && break
        sleep 0.2
      done
      docker info >/dev/null 2>&1 || { tail -n 20 "$folder/log" >&2; exit 1; }
    fi
    if ! docker image inspect debian:bookworm-slim >/dev/null 2>&1; then
      root=$(mktemp -d "$folder/root.XXXXXX")
      trap 'rm -rf "$root"' EXIT
      nice debootstrap --variant=minbase bookworm "$root" >"$folder/debootstrap.log" ||
        { tail -n 20 "$folder/debootstrap.log" >&2; exit 1; }
      rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
      tar -C "$root" -c . | docker import - debian:bookworm-slim >/dev/null
    fi
    echo "export DOCKER_HOST=$DOCKER_HOST"
    ;;
  stop)
    [ -f "$folder/pid" ] || exit 0
    engine=$(cat "$folder/pid")
    kill -TERM "$engine"
    tail --pid="$engine" --follow /dev/null
    ;;
  *) echo "usage: $0 start|stop FOLDER" >&2; exit 2 ;;
esac
