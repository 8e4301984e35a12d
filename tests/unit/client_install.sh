#!/bin/sh
# client_install.sh BUILD LEASE.C: the example builds from what is installed alone, with the
# flags that pkg-config gives, and nothing of the library shows but what its header declares.
set -eu
build=$1 source=$2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root meson install -C "$build" --no-rebuild --tags devel --quiet
pc=$(find "$root" -name rsip.pc)
[ -n "$pc" ] || { echo "rsip.pc is not installed"; exit 1; }
export PKG_CONFIG_LIBDIR="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$root"
[ "$(pkg-config --modversion rsip)" = "$(sed -n 's/^Version: //p' "$pc")" ]

sanitize=
[ "$SANITIZE" = none ] || sanitize=-fsanitize=$SANITIZE
# shellcheck disable=SC2046 # flags are words
"$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror $sanitize -o "$root/lease" "$source" \
    $(pkg-config --cflags --libs rsip)
"$root/lease" 2>"$root/usage" && exit 1
grep -q '^usage: lease GATEWAY' "$root/usage"
# The header stands alone in C++ too.
if command -v c++ >/dev/null; then
    printf '#include <rsip/rsip.h>\nint main() { return rsip_lib_version() == 0; }\n' >"$root/a.cc"
    # shellcheck disable=SC2046
    c++ -Wall -Wextra -Werror -fsyntax-only "$root/a.cc" $(pkg-config --cflags rsip)
fi

archive=$(find "$root" -name librsip.a)
nm -g --defined-only "$archive" | awk '$2 ~ /[A-Z]/ { print $3 }' | sort >"$root/defined"
if grep -v '^rsip_' "$root/defined"; then
    echo "these symbols are not of <rsip/rsip.h>"
    exit 1
fi
for name in $(sed -n 's/.*\b\(rsip_[a-z_]*\)(.*/\1/p' "$(find "$root" -name rsip.h)" | sort -u); do
    case $name in *_MAX) continue ;; esac
    grep -qx "$name" "$root/defined" || missing="${missing-} $name"
done
[ -z "${missing-}" ] || echo "mentioned in the header, not in the archive:$missing"
[ -z "${missing-}" ]
