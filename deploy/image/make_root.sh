#!/usr/bin/env bash
# Makes the root of a container image from built programs: make_root.sh FOLDER PROGRAM...
#
# FOLDER must not be there. In it: the programs, every shared library that the loader finds for them, and what these read
# (roots of TLS, names of users, order of name look-ups). Of each Debian package that a file came from: its licence, and its
# entry of dpkg's database in status.d/, where scanners of images look for what is installed. Each program is started in
# there.
#
# Needs root (chroot), and Debian. Run by the Dockerfile in its build stage.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 FOLDER PROGRAM..." >&2; exit 2; }
image=$1
shift
[ ! -e "$image" ] || { echo "make_root: $image is there" >&2; exit 1; }
user=65532  # also in the Dockerfile; the "nonroot" of other images without a shell

fail() {
  echo "make_root: $1" >&2
  exit 1
}

mkdir -p "$image"/{usr/bin,usr/lib,usr/lib64,etc/ssl/certs,proc,sys,dev,var/backups,var/lib/dpkg/status.d}
for folder in lib lib64; do ln -sfn "usr/$folder" "$image/$folder"; done

owners=$(mktemp)
trap 'rm -f "$owners"' EXIT
remember_owner() {  # remember_owner FILE: dpkg knows some files by their names from before /usr was merged
  local real found
  real=$(readlink -f "$1")
  for real in "$real" "${real#/usr}" "/usr$real"; do
    if found=$(dpkg-query --search "$real" 2>/dev/null); then
      sed -n '1s/: .*//p' <<<"$found" >>"$owners"
      return
    fi
  done
  echo "make_root: no package owns $1; its licence is yours to look after" >&2
}

# Under the path by which it was found, where the loader looks without a cache and without variables; what was found
# elsewhere (CUDA's) goes to one of these places. What the alternatives of BLAS and LAPACK point at is copied, not the link.
# A library that is missing is an error, but the driver's, which comes from the host.
default_place=/usr/lib/$(gcc -dumpmachine)
place() {  # place LIBRARY: where it lies in the image
  case "$(dirname "$1")" in
    /lib | /lib64 | "${default_place#/usr}") echo "$image/usr$1" ;;
    /usr/lib | /usr/lib64 | "$default_place") echo "$image$1" ;;
    *) echo "$image$default_place/$(basename "$1")" ;;
  esac
}
for program in "$@"; do
  install -m 0755 "$program" "$image/usr/bin/"
  loaded=$(ldd "$program")
  missing=$(sed -n 's/^[[:space:]]*\([^ ]*\) => not found$/\1/p' <<<"$loaded" | grep -v '^libcuda\.so\.' || true)
  [ -z "$missing" ] || fail "$program lacks $(tr '\n' ' ' <<<"$missing")"
  found='s|.*=> \(/[^ ]*\) (0x.*|\1|p; s|^[[:space:]]*\(/[^ ]*ld-linux[^ ]*\) (0x.*|\1|p'
  for library in $(sed -n "$found" <<<"$loaded"); do
    target=$(place "$library")
    [ ! -e "$target" ] || continue
    install -D -m 0755 "$(readlink -f "$library")" "$target"
    remember_owner "$library"
  done
done

cp /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/"  # for `--tls` without roots of one's own
remember_owner /usr/sbin/update-ca-certificates
printf 'root:x:0:0:root:/:/none\nevoke:x:%d:%d:Evoke:/var/lib/evoke:/none\n' $user $user >"$image/etc/passwd"
printf 'root:x:0:\nevoke:x:%d:\n' $user >"$image/etc/group"
echo 'hosts: files dns' >"$image/etc/nsswitch.conf"
cp /etc/os-release "$image/etc/os-release"
remember_owner /etc/os-release

sort -u "$owners" | while read -r package; do
  name=${package%%:*}
  dpkg-query --status "$package" >"$image/var/lib/dpkg/status.d/$name"
  licence=/usr/share/doc/$name/copyright
  [ -f "$licence" ] || fail "package $name has no licence in $licence"
  install -D -m 0644 "$(readlink -f "$licence")" "$image$licence"
done
install -D -m 0644 "$(dirname "${BASH_SOURCE[0]}")/../../LICENSE" "$image/usr/share/doc/evoke/copyright"

for program in "$@"; do
  chroot "$image" "/usr/bin/$(basename "$program")" --help >/dev/null || fail "$program does not start in $image"
done
