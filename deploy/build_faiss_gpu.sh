#!/usr/bin/env bash
# Builds FAISS with its CUDA part, which Debian's binary package lacks, from Debian's source package:
#
#   deploy/build_faiss_gpu.sh [ARCHITECTURES]     "90", "80;90"; by default those of this machine's GPUs, else 80;90
#
# Into $EVOKE_FAISS_GPU, or build/faiss_gpu of this tree: that is where CMake looks for it with -DEVOKE_GPU=ON. About 12
# minutes on two cores, and nothing when the same was built before: the same source (its checksums are below), the same
# architectures, compiler and script. EVOKE_JOBS: parallel jobs, by default one a core. CUDACXX: nvcc, if it is neither on
# the PATH nor in /usr/local/cuda.
#
# One thing is changed in the source. Where CUDA fails, FAISS says so and aborts; a server must not end because its GPU
# does. So a failed assertion throws FAISS's own exception there, which server/index/gpu/faiss_device.cc catches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=1.7.3-2
checksums="3e4fac26d8c9e9008ecea4ae5fc414c658998fce4ba75835058b1a71d3516002  faiss_1.7.3.orig.tar.gz
a351977533afa5575b21de74a58cacb66d846006b1ef971bed85e01e66eb7f94  faiss_1.7.3-2.debian.tar.xz"

fail() {
  echo "build_faiss_gpu: $1" >&2
  exit 1
}

[ $# -le 1 ] || { echo "usage: $0 [ARCHITECTURES]" >&2; exit 2; }
architectures=${1:-}
if [ -z "$architectures" ] && command -v nvidia-smi >/dev/null; then
  architectures=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | sort -u | paste -sd';') || true
fi
[ -n "$architectures" ] || architectures="80;90"
[[ $architectures =~ ^[0-9]+[af]?(;[0-9]+[af]?)*$ ]] || fail "\"$architectures\" are no architectures, as in \"80;90\""

nvcc=${CUDACXX:-$(command -v nvcc || true)}
[ -n "$nvcc" ] || nvcc=/usr/local/cuda/bin/nvcc
[ -x "$nvcc" ] || fail "there is no nvcc: the CUDA toolkit is needed"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
change() {
  local assertions=$work/source/faiss/impl/FaissAssert.h aborts='^\( *\)abort();\( *\\\)$'
  [ "$(grep -c "$aborts" "$assertions")" = 3 ] || return 1
  sed -i "s/$aborts/\1throw faiss::FaissException(\"assertion failed\", __PRETTY_FUNCTION__, __FILE__, __LINE__);\2/" "$assertions"
}
build() {
  cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
    -DFAISS_ENABLE_GPU=ON -DFAISS_ENABLE_PYTHON=OFF -DFAISS_OPT_LEVEL=generic -DBUILD_TESTING=OFF \
    -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
    -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_ARCHITECTURES="$architectures" -DCMAKE_CUDA_STANDARD=17 \
    -DCMAKE_CXX_STANDARD=17 $(launchers) &&
    cmake --build "$work/build" --parallel "${EVOKE_JOBS:-$(nproc)}" --target faiss &&
    cmake --install "$work/build"
}
launchers() {
  command -v ccache >/dev/null && echo -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache
}

deploy/packages.sh build gpu
prefix=${EVOKE_FAISS_GPU:-build/faiss_gpu}
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
stamp=$prefix/built_from
key="FAISS $version, architectures $architectures, $("$nvcc" --version | sed -n 's/.*release [^,]*, //p'), \
$(g++ -dumpfullversion), recipe $(declare -f change build | sha256sum | cut -c 1-16)
$checksums"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then
  echo "build_faiss_gpu: $prefix is up to date"
  exit 0
fi

# apt as it is set up on this machine, but asked for sources: a list of its own, so that nothing of the system changes.
sources=$work/apt
mkdir -p "$sources"/{parts,lists/partial,archives/partial}
: >"$sources/sources.list"
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
  [ -f "$list" ] || continue
  case "$list" in
    *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" >"$sources/parts/${list##*/}" ;;
    *.list) sed -n 's/^deb /deb-src /p' "$list" >>"$sources/sources.list" ;;
  esac
done
apt_options=(-o "Dir::Etc::SourceList=$sources/sources.list" -o "Dir::Etc::SourceParts=$sources/parts"
  -o "Dir::State::Lists=$sources/lists" -o "Dir::Cache=$sources" -o "Dir::Cache::Archives=$sources/archives"
  -o "APT::Sandbox::User=$(id -un)" -o Acquire::Retries=3)
# Entries that have no sources may fail; what is needed is checked below.
apt-get "${apt_options[@]}" update >"$work/apt.log" 2>&1 || true
(cd "$work" && apt-get "${apt_options[@]}" source --download-only "faiss=$version") >>"$work/apt.log" 2>&1 ||
  { tail -n 20 "$work/apt.log" >&2; fail "apt-get finds no source package faiss $version"; }
(cd "$work" && sha256sum --quiet --check - <<<"$checksums") || fail "the source of FAISS is another one than the script knows"
(cd "$work" && dpkg-source --no-check --extract faiss_*.dsc source) >"$work/source.log" 2>&1 ||
  { cat "$work/source.log" >&2; fail "the source package cannot be unpacked"; }

change || fail "FaissAssert.h has other assertions than the script knows"
echo "build_faiss_gpu: FAISS $version for $architectures, into $prefix"
rm -f "$stamp"
build >"$prefix/build.log" 2>&1 || { tail -n 40 "$prefix/build.log" >&2; fail "failed; all of it is in $prefix/build.log"; }
printf '%s\n' "$key" >"$stamp"
