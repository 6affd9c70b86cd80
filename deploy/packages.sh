#!/usr/bin/env bash
# Installs the Debian 12 packages that Evoke is built, tested and used with. Idempotent: asks apt for nothing when
# nothing is missing, so that it may run as any user then.
#
#   deploy/packages.sh [build] [test] [python]    default: these three
#   deploy/packages.sh watch                      what scrapes a server and checks dashboards, rules and alerts
#   deploy/packages.sh trainer | docker           only what runs a trainer; only what runs the tests of the images
#   deploy/packages.sh gpu                        what deploy/build_faiss_gpu.sh takes Debian's source package apart with
#   deploy/packages.sh browser                    what shows tests/browser the page
#   deploy/packages.sh --list [GROUP...]          prints the names, installs nothing
set -euo pipefail

# OpenBLAS in its OpenMP variant: its number of threads is set per calling thread, like FAISS's own; that of the pthread
# variant is one number for the process (server/index/faiss_flat_index.cc).
BUILD_PACKAGES=(
  g++ cmake ninja-build pkg-config
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  libfaiss-dev libopenblas-dev libopenblas-openmp-dev libopenblas0-openmp
  librocksdb-dev prometheus-cpp-dev libcivetweb-dev
  libcli11-dev libcurl4-openssl-dev nlohmann-json3-dev libspdlog-dev libssl-dev libtomlplusplus-dev libxxhash-dev libzip-dev
)
TEST_PACKAGES=(clang libclang-rt-14-dev libomp-dev libgtest-dev libgmock-dev libbenchmark-dev libhnswlib-dev openssl python3
  python3-pytest python3-yaml curl jq patchelf zsh man-db groff-base systemd dpkg-dev debootstrap iproute2)
TRAINER_PACKAGES=(python3 python3-grpcio python3-protobuf python3-numpy python3-torch python3-tqdm python3-matplotlib)
PYTHON_PACKAGES=(
  "${TRAINER_PACKAGES[@]}" python3-venv python3-pip python3-setuptools python3-wheel python3-pytest python3-yaml
  protobuf-compiler protobuf-compiler-grpc
)
WATCH_PACKAGES=(prometheus prometheus-alertmanager)
DOCKER_PACKAGES=(docker.io docker-compose iptables debootstrap)
GPU_PACKAGES=(dpkg-dev xz-utils)
BROWSER_PACKAGES=(chromium chromium-driver python3-selenium fonts-dejavu-core)

fail() {
  echo "packages: $1" >&2
  exit 1
}

list_only=false
groups=()
for argument in "$@"; do
  case "$argument" in
    --list) list_only=true ;;
    build | test | python | watch | trainer | docker | gpu | browser) groups+=("$argument") ;;
    *) echo "usage: $0 [--list] [build] [test] [python] [watch] [trainer] [docker] [gpu] [browser]" >&2; exit 2 ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build test python)

wanted=()
for group in "${groups[@]}"; do
  case "$group" in
    build) wanted+=("${BUILD_PACKAGES[@]}") ;;
    test) wanted+=("${TEST_PACKAGES[@]}") ;;
    python) wanted+=("${PYTHON_PACKAGES[@]}") ;;
    watch) wanted+=("${WATCH_PACKAGES[@]}") ;;
    trainer) wanted+=("${TRAINER_PACKAGES[@]}") ;;
    docker) wanted+=("${DOCKER_PACKAGES[@]}") ;;
    gpu) wanted+=("${GPU_PACKAGES[@]}") ;;
    browser) wanted+=("${BROWSER_PACKAGES[@]}") ;;
  esac
done
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)
if $list_only; then
  printf '%s\n' "${wanted[@]}"
  exit 0
fi

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
  fail "this system has no apt-get; Evoke is built on Debian 12 (bookworm). Install the equivalents of: ${wanted[*]}"

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install --yes --no-install-recommends "${missing[@]}")
if [ "$(id -u)" -ne 0 ]; then
  fail "${#missing[@]} packages are missing and only root can install them. As root, run:
  apt-get update && ${install[*]}"
fi
release=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-unknown}")
[ "$release" = "debian 12" ] ||
  echo "packages: this is $release; the package names are those of debian 12 and may differ" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
  if ! DEBIAN_FRONTEND=noninteractive "$@" </dev/null >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    fail "failed: $*"
  fi
}
echo "packages: installing ${#missing[@]}: ${missing[*]}"
quietly apt-get update -o Acquire::Retries=3
quietly "${install[@]}" -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0
