#!/usr/bin/env bash
# Teaches a served memory to recognise characters after one look (about six minutes on 2 cores, besides the build), kills
# the server with SIGKILL twice while it learns, and shows that nothing acknowledged was lost. The last line tells.
#
#   deploy/demo.sh [--data DIR] [--minutes N]
#
#   --data DIR      where omniglot-28.npz is, or omniglot/omniglot-28.npz; without it the drawings are made up here
#   --minutes N     training time, default 4
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  echo "usage: $0 [--data DIR] [--minutes N]" >&2
  exit 2
}
data=()
minutes=4
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case "$1" in
    --data)
      [ -d "$2" ] || { echo "demo: FAILED: there is no folder $2"; exit 2; }
      data=(--data "$(cd "$2" && pwd)")
      ;;
    --minutes) minutes=$2 ;;
    *) usage ;;
  esac
  shift 2
done

work=$(mktemp -d "${TMPDIR:-/tmp}/evoke-demo.XXXXXX")
out=$root/build/demo/omniglot
address=unix:$work/evoked.sock
server='' trainer='' stage='' verdict=''

say() {
  stage=$1
  printf '\n== %s\n' "$stage"
}

fail() {
  verdict="demo: FAILED: $1"
  exit 1
}

# Whatever happens: no process and no temporary file stays, and the last line says how it went.
finish() {
  local code=$?
  trap - EXIT
  for process in $trainer $server; do
    kill -KILL "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
  done
  if [ $code -ne 0 ]; then
    for log in "$work/trainer.err" "$work/evoked.log"; do
      [ -s "$log" ] && printf '\n-- the end of %s:\n' "$(basename "$log")" && tail -n 20 "$log" | tr '\r' '\n' | tail -n 20
    done
  fi
  rm -rf "$work"
  echo
  echo "${verdict:-demo: FAILED: while: $stage}"
  exit $code
}
trap finish EXIT
trap 'verdict="demo: FAILED: interrupted while: $stage"; exit 130' INT TERM HUP

start_server() {
  "$bin/evoked" --data-dir "$work/data" --listen "$address" --http-listen off --die-with-parent </dev/null \
    >>"$work/evoked.log" 2>&1 &
  server=$!
  "$bin/evokectl" --address "$address" health --wait --timeout 60s >/dev/null || fail "the server does not get ready"
}

kill_server() {
  kill -KILL "$server"
  wait "$server" 2>/dev/null || true
  server=''
}

ask() {  # ask FIELD EVOKECTL-ARGUMENT...: one field of its JSON answer
  local field=$1
  shift
  "$bin/evokectl" --address "$address" -o json "$@" | "$venv/bin/python" -c "
import functools, json, sys
print(functools.reduce(lambda at, key: at[key], '$field'.split('.'), json.load(sys.stdin)))"
}

trainer_works() {
  kill -0 "$trainer" 2>/dev/null || fail "the trainer ended early"
}

train_for() {  # train_for SECONDS: waits, and shows how training goes
  local until=$((SECONDS + $1))
  while [ $SECONDS -lt $until ]; do
    sleep 1
    trainer_works
    if [ $((SECONDS % 15)) -eq 0 ]; then tr '\r' '\n' <"$work/trainer.err" | tail -n 1; echo; fi
  done
}

say "packages"
"$root/deploy/packages.sh" build python

say "build"
# The build of the tests is the same code (with warnings as errors): when it is there, it need not be built twice.
if [ -f "$root/build/ci/build.ninja" ]; then
  build=$root/build/ci
else
  build=$root/build/demo
  launcher=()
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  (cd "$root" && cmake --preset release -B "$build" -DEVOKE_TESTS=OFF -DEVOKE_BENCH=OFF "${launcher[@]}") >"$work/configure.log" 2>&1 ||
    { cat "$work/configure.log"; fail "CMake does not configure"; }
fi
cmake --build "$build" --parallel "$(nproc)" --target evoked evokectl -- --quiet || fail "the build"
bin=$build/bin
venv=$root/build/venv
"$root/deploy/python_env.sh" "$venv" || fail "the Python client does not install"

say "server"
start_server
"$bin/evokectl" --address "$address" status

say "training, $minutes minutes"
mkdir -p "$out"
rm -f "$out/result.json"
PYTHONPATH=$root/client PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
  "$venv/bin/python" -m trainers.omniglot.train --address "$address" --out "$out" --minutes "$minutes" "${data[@]}" \
  </dev/null > >(tee "$work/trainer.out") 2>"$work/trainer.err" &
trainer=$!
until grep -q '^network before' "$work/trainer.out" 2>/dev/null; do
  trainer_works
  sleep 1
done
third=$("$venv/bin/python" -c "print(max(5, int(float('$minutes') * 20)))")
train_for "$third"

say "kill -9, in full flight"
memory=$("$bin/evokectl" --address "$address" -o json memory list | "$venv/bin/python" -c "
import json, sys
print(next(m['name'] for m in json.load(sys.stdin)['memories'] if m['name'].startswith('omniglot-train')))")
turn=$(ask turn hash "$memory")
kill_server
echo "before: turn $turn was acknowledged"
start_server
after=$(ask turn hash "$memory")
echo "after:  the memory is at turn $after, the trainer goes on by itself"
[ "$after" -ge "$turn" ] || fail "turn $turn was acknowledged, the restarted server is at $after"
train_for "$third"

say "kill -9, with the trainer held still, so that both states can be compared"
while :; do
  kill -STOP "$trainer"
  hash='' before="$(ask state_hash hash "$memory") at turn $(ask turn hash "$memory")"
  # What the trainer had already sent is still being worked on: wait until nothing changes any more.
  until [ "$before" = "$hash" ]; do
    hash=$before
    before="$(ask state_hash hash "$memory") at turn $(ask turn hash "$memory")"
  done
  [ "$(ask live_slots hash "$memory")" -eq 0 ] || break
  kill -CONT "$trainer"  # it had just emptied the memory: nothing to lose
  sleep 0.2
  trainer_works
done
slots=$(ask live_slots hash "$memory")
kill_server
start_server
after="$(ask state_hash hash "$memory") at turn $(ask turn hash "$memory")"
echo "before: $slots slots, state hash $before"
echo "after:  $(ask live_slots hash "$memory") slots, state hash $after"
[ "$before" = "$after" ] || fail "the memory differs after the restart"
kill -CONT "$trainer"

say "training goes on"
code=0
wait "$trainer" || code=$?
trainer=''
[ $code -eq 0 ] || fail "the trainer ended with exit code $code"

say "the memory of the rare drawings, once more after kill -9"
life=$("$bin/evokectl" --address "$address" -o json memory list | "$venv/bin/python" -c "
import json, sys
print(next(m['name'] for m in json.load(sys.stdin)['memories'] if m['name'].startswith('omniglot-life')))")
before=$(ask state_hash hash "$life")
kill_server
start_server
after=$(ask state_hash hash "$life")
"$bin/evokectl" --address "$address" hash "$life"
[ "$before" = "$after" ] || fail "$life differs after the restart: $before, then $after"

say "stop"
kill -TERM "$server"
wait "$server" || fail "the server's exit code after SIGTERM is $?"
server=''
read -r was is < <("$venv/bin/python" -c "
import json
result = json.load(open('$out/result.json'))
print(*('%.1f' % (100 * result[when]['online']['shots']['1']['accuracy']) for when in ('before', 'after')))")
echo "curve and answers: build/demo/omniglot/curve.png, answers.png"
awk -v was="$was" -v is="$is" 'BEGIN { exit !(is > was) }' || fail "5-way 1-shot went from $was% to $is%"
verdict="demo: OK: 5-way 1-shot $was% -> $is%, memory survived kill -9"
