#!/usr/bin/env bash
# Makes a virtual environment with the Python client in it: deploy/python_env.sh DIR, then DIR/bin/python.
#
# Debian's interpreter, named because another python3 may come first on PATH, and Debian's packages (gRPC, NumPy, torch)
# through --system-site-packages: pip asks no index for anything. The client is built from a copy, so that the source
# tree stays clean and may be read-only.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

[ -x "$1/bin/pip" ] || /usr/bin/python3 -m venv --system-site-packages "$1"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/client"
cp -R "$root/proto" "$copy/proto"
cp -R "$root/client/python" "$copy/client/python"
rm -rf "$copy/client/python/build" "$copy/client/python/evoke/_proto"
"$1/bin/pip" install --quiet --no-index --no-build-isolation --no-deps --force-reinstall "$copy/client/python"
