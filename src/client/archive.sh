#!/bin/sh
# archive.sh OUTPUT CLIENT WIRE BASE: one archive with all that librsip needs.  What is
# not declared in <rsip/rsip.h> (hidden symbols) can neither be called nor clash in it.
set -eu
out=$1 object=${1%.a}.o
shift
ld -r -o "$object" --whole-archive "$1" --no-whole-archive "$2" "$3"
objcopy --localize-hidden "$object"
rm -f "$out"
ar rcsD "$out" "$object"
rm -f "$object"
