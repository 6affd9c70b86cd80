#!/usr/bin/env bash
# Builds what is handed out: Debian packages and Python wheels. deploy/release.sh OUT [PRESET]
#
# For the system that it runs on (Debian 12), with deploy/packages.sh installed. PRESET is `release` by default.
set -euo pipefail
[ $# -eq 1 ] || [ $# -eq 2 ] || { echo "usage: $0 OUT [PRESET]" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
preset=${2:-release}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
cmake --preset "$preset" -DEVOKE_COMMIT="$commit" >/dev/null
cmake --build "build/$preset" --target evoked evokectl evoke-inspect evoke-load evoke_documents evoke_changelog -- --quiet
rm -f "$out"/*.deb
cpack --config "build/$preset/CPackConfig.cmake" -B "$out" >"$out/cpack.log" || { cat "$out/cpack.log" >&2; exit 1; }
rm -rf "$out/_CPack_Packages" "$out/cpack.log"
deploy/wheels.sh "$out" "build/$preset/bin/evoked"
ls -1 "$out"/*.deb
