#!/bin/sh
# The packet functions must stay what BPF accepts: no libc, no globals, no helpers.
#     core_bpf.sh SOURCE-ROOT
set -eu
root=$1
clang=$(command -v clang-14 || command -v clang) || { echo "needs clang"; exit 77; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT
"$clang" -O2 -g -target bpf -mcpu=v3 -ffreestanding -Wall -Wextra -Werror -Wno-missing-prototypes \
	-I"$root/src" -c "$root/tests/packet/core_bpf.c" -o "$out"
# A call or a global left over would be an undefined symbol or a data section.
nm=$(command -v llvm-nm-14 || command -v llvm-nm) || { echo "needs llvm-nm"; exit 77; }
"$nm" "$out" | awk '$1 == "U" || $2 ~ /^[bdBD]$/ { print "left over:", $0; bad = 1 } END { exit bad }'
