#!/usr/bin/env bash
# Makes what secure.yml needs, in $EVOKE_SECRETS (secrets/ beside this file): make_secrets.sh [NAME|ADDRESS...]
#
#   ca.pem, server.pem, server.key    a certificate for NAMEs, `evoked`, `localhost` and 127.0.0.1, and who signed it;
#                                     clients get ca.pem. The key that signed it is not kept: to renew is to make anew
#   tokens, admin.token, trainer.token    the server's file of tokens, and the two tokens in it
#
# Nothing that is there is overwritten. Files are readable by all, in a folder that only its owner enters: the container's
# user is another one, and gets them by mount.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=${EVOKE_SECRETS:-secrets}
[ ! -e "$folder" ] || { echo "make_secrets: $folder is there; remove it to make new ones" >&2; exit 1; }
work=$folder.new
rm -rf "$work"
(umask 077; mkdir -p "$work")
trap 'rm -rf "$work"' EXIT

names=DNS:evoked,DNS:localhost,IP:127.0.0.1
for name in "$@"; do
  if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then names+=,IP:$name; else names+=,DNS:$name; fi
done
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc)
openssl req -x509 "${key[@]}" -days 825 -subj "/CN=Evoke's own authority" -addext keyUsage=critical,keyCertSign \
  -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -new "${key[@]}" -subj /CN=evoked -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 825 -out "$work/server.pem" \
  -extfile <(echo "subjectAltName=$names") 2>/dev/null
rm "$work/ca.key" "$work/server.csr"

for role in admin trainer; do
  openssl rand -hex 32 >"$work/$role.token"
  digest=$(tr -d '\n' <"$work/$role.token" | sha256sum | cut -d ' ' -f 1)
  echo "$role $role * $digest" >>"$work/tokens"
done
chmod 0444 "$work"/*
mv "$work" "$folder"
trap - EXIT
echo "made $folder: $(ls "$folder" | tr '\n' ' ')"
