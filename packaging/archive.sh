# Sourced by scripts/release: one archive with the modules of all versions, laid out as a prefix such as /usr/local; and
# the licences of what the modules contain.
# shellcheck shell=bash disable=SC2154 # scripts/release sets the variables that the files share.

# licences FOLDER: writes the licences of all parts of websocket.so. The texts are those of this machine's packages.
licences() {
    local toolchain package
    toolchain=$(dirname "$(dirname "$(readlink -f "$(command -v swift)")")")
    package=$(dpkg -S "$(cc -print-file-name=libstdc++.a)" | sed 's/:.*//')
    mkdir -p "$1"
    cp packaging/contents.md "$1/README.md"
    cp LICENSE "$1/websocket.txt"
    copy_licence "$toolchain/share/swift/LICENSE.txt" "$1/swift.txt"
    copy_licence "/usr/share/doc/$package/copyright" "$1/gcc.txt"
    copy_licence /usr/share/doc/libc6-dev/copyright "$1/glibc.txt"
    copy_licence /usr/share/common-licenses/GPL-3 "$1/GPL-3.txt"
    copy_licence /usr/share/common-licenses/LGPL-2.1 "$1/LGPL-2.1.txt"
}

copy_licence() {
    if [ ! -s "$1" ]; then
        echo "the licence $1 is missing, without which websocket.so can't be passed on" >&2
        exit 1
    fi
    cp -L "$1" "$2"
}

# Fails if the linker has put a library or object file of the system into the module that packaging/contents.md does not
# name. Links once more, with a map.
check_parts() {
    local part
    echo "contents of the module"
    (cd "$sources" && quietly "swift build" swift build --configuration release --product websocket \
        --scratch-path build.luarocks/swift -Xlinker "-Map=$work/map")
    while read -r part; do
        if ! grep -qF "\`$part\`" packaging/contents.md; then
            echo "websocket.so contains $part, of which packaging/contents.md has no licence" >&2
            exit 1
        fi
    done < <(grep -oE '/[^ ]*(\.a\(|/[^/ ]*crt[^/ ]*\.o)' "$work/map" | sed 's|.*/||; s|($||' | sort -u)
}

make_archive() {
    local lua prefix documents
    echo "archive of the modules"
    prefix=$work/prefix/$name-linux-$(uname -m)
    documents=$prefix/share/doc/websocket
    mkdir -p "$(dirname "$documents")"
    cp -r "$(pages)" "$documents"
    for lua in "${versions[@]}"; do
        install -D "$(tree_of "$lua")/lib/lua/$lua/websocket.so" -t "$prefix/lib/lua/$lua"
    done
    install -D -m 755 "$sources/tools/wscat.lua" "$prefix/bin/wscat"
    install -D -m 644 "$sources/man/wscat.1" -t "$prefix/share/man/man1"
    licences "$documents/licences"
    set_times "$prefix"
    tar --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -C "$work/prefix" -c "$(basename "$prefix")" |
        gzip --no-name -9 >"$folder/$(basename "$prefix").tar.gz"
}
