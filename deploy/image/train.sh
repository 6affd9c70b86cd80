#!/bin/sh
# Entry of the trainer's image: learns from the drawings that are mounted at /data, or from made ones when none are.
set -eu
for file in /data/omniglot-28.npz /data/omniglot/omniglot-28.npz; do
  [ ! -e "$file" ] || set -- --data /data "$@"
done
exec python -m trainers.omniglot.train --out /out "$@"
