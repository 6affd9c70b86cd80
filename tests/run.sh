#!/usr/bin/env bash
# Installs what is needed, builds, runs the tests. The last line is `N passed, N failed, N skipped`; the exit code is 0
# when something ran and nothing failed.
#
#   tests/run.sh           what every change must pass: about 15 minutes on 2 cores, much less with ccache
#   tests/run.sh --full    also the tests labelled or marked slow (packages, wheels; the image and compose, where a Docker engine
#                          is), the page in Chromium where that is installed, the clients under ASan, two seconds of every
#                          fuzz target, TSan, and the similarity compiled for this very machine
#
# Builds are in build/<preset>, results and logs in build/results. EVOKE_JOBS: parallel jobs, by default one a core.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

full=false
case "${1:-}" in
  "") ;;
  --full) full=true ;;
  *) echo "usage: $0 [--full]" >&2; exit 2 ;;
esac

jobs=${EVOKE_JOBS:-$(nproc)}
results=build/results
runs=$results/runs.tsv
rm -rf "$results"
mkdir -p "$results"
: >"$runs"
export PYTHONDONTWRITEBYTECODE=1 CLICOLOR=0 GTEST_COLOR=no
# ccache refuses to keep what was compiled with precompiled headers unless it is told that times in them do not matter.
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_mtime,include_file_ctime}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

record() {  # record KIND NAME EXIT [PATH...]
  (IFS=$'\t'; echo "$*" >>"$runs")
}

timed() {  # timed COMMAND...: both times, for a machine may be busy with something else
  local TIMEFORMAT='== %R s, %U s of CPU' code=0
  time "$@" </dev/null || code=$?
  [ "$code" -eq 0 ] || echo "== exit code $code"
  return "$code"
} 2>&1

# A step whose failure is counted, and does not keep the others from running.
step() {  # step NAME COMMAND...
  local name=$1 code=0
  shift
  echo "== $name"
  timed "$@" || code=$?
  record step "$name" "$code"
  return "$code"
}

configure() {  # configure PRESET
  local launcher=()
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  cmake --preset "$1" "${launcher[@]}" >"$results/configure-$1.log" 2>&1 || {
    cat "$results/configure-$1.log"
    return 1
  }
}

build() {  # build PRESET [TARGET...]: goes on after an error, so that one report has all of them
  local preset=$1
  shift
  cmake --build "build/$preset" --parallel "$jobs" ${@:+--target "$@"} -- --quiet -k 0
}

run_ctest() {  # run_ctest NAME PRESET CTEST-ARGUMENT...
  local name=$1 preset=$2 code=0
  shift 2
  echo "== test $name"
  rm -rf "build/$preset/test-results"
  mkdir -p "build/$preset/test-results"
  timed ctest --test-dir "build/$preset" --parallel "$jobs" --output-on-failure --no-tests=error \
    --output-junit "$PWD/$results/$name.xml" "$@" || code=$?
  record ctest "$name" "$code" "$results/$name.xml" "build/$preset/test-results"
}

# The names of the tests that CTest would run are the names of their targets (cmake/evoke.cmake), so that a build for
# some tests need not build the rest.
targets_of() {  # targets_of PRESET CTEST-ARGUMENT...
  local preset=$1
  shift
  ctest --test-dir "build/$preset" --show-only "$@" | sed -n 's/^ *Test *#[0-9]*: *//p'
}

build_and_test() {  # build_and_test PRESET CTEST-ARGUMENT...: only the binaries that these tests need
  local preset=$1
  shift
  step "configure $preset" configure "$preset" || return 0
  step "build $preset" build "$preset" $(targets_of "$preset" "$@") || true
  run_ctest "$preset" "$preset" "$@"
}

run_pytest() {  # run_pytest NAME FOLDER [PYTEST-ARGUMENT...]
  local name=$1 code=0
  echo "== test $name"
  timed env PYTHONPATH="$PWD/client" "$venv/bin/python" -m pytest -q -p no:cacheprovider \
    -o faulthandler_timeout=300 -o junit_family=xunit2 --junitxml="$results/$name.xml" "${@:2}" || code=$?
  record pytest "$name" "$code" "$results/$name.xml"
}

# Without Prometheus the tests of dashboards, rules and alerts that ask it are skipped.
package_groups=(build test python)
$full && package_groups+=(watch)
if ! step packages deploy/packages.sh "${package_groups[@]}"; then  # without them not even the counting is sure to work
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi

not_slow=(--label-exclude '^slow$')
not_marked_slow=(-m "not slow")
if $full; then
  not_slow=()
  not_marked_slow=()
fi

# 1. As shipped, with warnings as errors: everything.
if step "configure ci" configure ci; then
  step "build ci" build ci || true
  run_ctest ci ci "${not_slow[@]}"
fi

# 2. The Python client and what is written with it, against the server that was just built.
venv=build/venv
export EVOKE_EVOKED=$PWD/build/ci/bin/evoked
if step "python client" deploy/python_env.sh "$venv"; then
  folders=(client/python/tests client/trainers tests/integration)
  $full && folders+=(tests/browser)
  for folder in "${folders[@]}"; do
    if [ -n "$(find "$folder" -name 'test_*.py' -o -name '*_test.py' 2>/dev/null)" ]; then
      run_pytest "python-${folder//\//-}" "$folder" "${not_marked_slow[@]}"
    fi
  done
  run_pytest python-tests-install tests/install "${not_marked_slow[@]}"
fi

# 3. ASan and UBSan: what runs in one process. The clients are a third of what there is to build, and wait for --full.
not_clients=(--exclude-regex '^(client|evokectl|load|readme_example)_test')
$full && not_clients=()
build_and_test dev --label-regex '^(unit|model|component|fuzz)$' "${not_slow[@]}" "${not_clients[@]}"

# 4. The libFuzzer targets, from the same inputs as their replays above. Building them takes 3 minutes of CPU.
if $full; then
  EVOKE_TEST_SEED=1 EVOKE_JOBS=$jobs step "fuzz" tests/fuzz.sh 2 || true
fi

# 5. What is for a GPU: compiled and linked wherever there is what that takes. Its tests skip themselves without a device.
faiss_gpu=${EVOKE_FAISS_GPU:-build/faiss_gpu}
if ! command -v "${CUDACXX:-nvcc}" /usr/local/cuda/bin/nvcc >/dev/null; then
  record skip "gpu" 0 "no CUDA toolkit (nvcc): neither compiled nor linked"
elif [ ! -f "$faiss_gpu/built_from" ]; then
  record skip "gpu" 0 "no FAISS with CUDA in $faiss_gpu (deploy/build_faiss_gpu.sh): neither compiled nor linked"
else
  build_and_test gpu --label-regex '^gpu$'
fi

if $full; then
  # Debian's gRPC is not instrumented: TSan would report its every hand-over as a race.
  build_and_test tsan --label-regex '^(unit|model|component)$' \
    --exclude-regex '^(client|evokectl|limits|load|page|readme_example|rpc|server|service|train_stream)_'
  build_and_test native --tests-regex '^similarity'
fi

exec /usr/bin/python3 tests/count_results.py "$runs"
