#!/usr/bin/env bash
# Builds the libFuzzer targets with clang, ASan and UBSan, and runs each for some seconds, from the inputs in
# tests/data/fuzz and what earlier runs found. The last line is `N executions, N crashes`; the exit code is 0 when
# nothing crashed and something ran.
#
#   tests/fuzz.sh [SECONDS] [TARGET...]    default: 60 seconds of every target
#   tests/fuzz.sh --merge [TARGET...]      takes into tests/data/fuzz what runs have found and no input there covers
#
# EVOKE_JOBS: targets beside each other, by default one a core. EVOKE_TEST_SEED: the same run again; by default another.
# New inputs are kept in build/fuzz/corpus, what crashes in build/fuzz/crashes, logs in build/fuzz/logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=60
case "${1:-}" in
  "") ;;
  --merge) seconds=merge; shift ;;
  *[!0-9]* | 0) echo "usage: $0 [--merge | SECONDS] [TARGET...]" >&2; exit 2 ;;
  *) seconds=$1; shift ;;
esac
jobs=${EVOKE_JOBS:-$(nproc)}
export UBSAN_OPTIONS=print_stacktrace=1

launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
mkdir -p build/fuzz/{logs,corpus,crashes}
cmake --preset fuzz "${launcher[@]}" >build/fuzz/logs/configure.log 2>&1 || { cat build/fuzz/logs/configure.log; exit 1; }
cmake --build build/fuzz --parallel "$jobs" -- --quiet

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(ls build/fuzz/fuzz | sed -n 's/^fuzz_//p')
fi

fuzz() {  # fuzz TARGET
  local found=build/fuzz/corpus/$1
  mkdir -p "$found"
  build/fuzz/fuzz/fuzz_"$1" -max_total_time="$seconds" -seed="${EVOKE_TEST_SEED:-0}" -timeout=20 -rss_limit_mb=4096 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$1-" "$found" "tests/data/fuzz/$1" \
    >"build/fuzz/logs/$1.log" 2>&1
}

# What covers the most with the fewest inputs is still hundreds of them: up to 24 small ones, of all sizes alike, stand
# for the rest, so that the inputs of a target stay a few KB.
merge() {  # merge TARGET
  local kept=tests/data/fuzz/$1 cover files
  cover=$(mktemp -d)
  mkdir -p "build/fuzz/corpus/$1"
  build/fuzz/fuzz/fuzz_"$1" -merge=1 -set_cover_merge=1 "$cover" "$kept" "build/fuzz/corpus/$1" >"build/fuzz/logs/$1.log" 2>&1
  mapfile -t files < <(find "$cover" -type f -size -513c -printf '%s %f\n' | LC_ALL=C sort -n | cut -d ' ' -f 2)
  for ((i = 0; i < ${#files[@]}; i += 1 + ${#files[@]} / 24)); do cp "$cover/${files[i]}" "$kept/"; done
  rm -rf "$cover"
  echo "$1: $(find "$kept" -type f | wc -l) inputs"
}

if [ "$seconds" = merge ]; then
  for target in "${targets[@]}"; do merge "$target"; done
  exit 0
fi

for target in "${targets[@]}"; do
  while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n || true; done
  fuzz "$target" &
done
wait

executions=0 crashes=0
for target in "${targets[@]}"; do
  log=build/fuzz/logs/$target.log
  ran=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  added=$(sed -n 's/^stat::new_units_added: *//p' "$log" | tail -n 1)
  coverage=$(grep -ao 'cov: [0-9]*' "$log" | tail -n 1 || true)
  printf '%-16s %10s executions, %s, %s new inputs\n' "$target" "${ran:-0}" "${coverage:-cov: 0}" "${added:-0}"
  executions=$((executions + ${ran:-0}))
  if grep -aqE '^(SUMMARY|.*ERROR: libFuzzer)' "$log" || [ -z "$ran" ]; then
    crashes=$((crashes + 1))
    grep -aE 'check failed|runtime error|ERROR: |Test unit written' "$log" | head -n 5 || tail -n 5 "$log"
  fi
done
echo "$executions executions, $crashes crashes"
[ "$executions" -gt 0 ] && [ "$crashes" -eq 0 ]
