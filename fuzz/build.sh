#!/usr/bin/env bash
# Run by scripts/fuzz, in the project's folder: builds fuzz targets into build/fuzz.
#   fuzz/build.sh TARGET…
set -euo pipefail

flags=(-O -parse-as-library -assert-config Debug -sanitize=fuzzer,address -use-ld=lld -I build/fuzz)
for map in Sources/{CEvents,CUTF8,CLinux}/include/module.modulemap Sources/{CZlib,COpenSSL}/module.modulemap; do
    flags+=(-Xcc "-fmodule-map-file=$map")
done
# Swift's own clang, whose sanitizer runtime is the same.
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
objects=()
for source in Sources/CUTF8/*.c Sources/CLinux/*.c; do
    objects+=("build/fuzz/$(basename "$source" .c).o")
    "$clang" -O2 -fsanitize=fuzzer-no-link,address -I Sources/CUTF8/include -I Sources/CLinux/include \
        -c -o "${objects[-1]}" "$source"
done

for module in WebSocketProtocol WebSocketEngine; do
    objects+=("build/fuzz/$module.o")
    swiftc "${flags[@]}" -wmo -enable-testing -module-name "$module" -emit-module \
        -emit-module-path "build/fuzz/$module.swiftmodule" -emit-object -o "${objects[-1]}" "Sources/$module"/*/*.swift
done

# A target is a file or a folder in fuzz.
for target in "$@"; do
    sources=("fuzz/$target.swift")
    [ ! -d "fuzz/$target" ] || sources=("fuzz/$target"/*.swift)
    swiftc "${flags[@]}" -module-name Fuzz -o "build/fuzz/$target" -lz -lssl -lcrypto "${objects[@]}" \
        fuzz/Support.swift "${sources[@]}"
done
