# Sourced by scripts/release: the Debian packages.
#   luaX.Y-websocket        the module, where Debian's Lua X.Y looks for it; that of 5.1 is LuaJIT's, too
#   lua-websocket-common    documentation, examples, and the types for lua-language-server
#   lua-wscat               the command wscat. Debian's node-ws has a command of this name: only one can be installed
# No package of Debian 12 has one of these names.
# shellcheck shell=bash disable=SC2154 # scripts/release sets the variables that the files share.

make_debian_packages() {
    local lua
    echo "Debian packages"
    revision=$version-1
    architecture=$(dpkg --print-architecture)
    triplet=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
    for lua in "${versions[@]}"; do [ "$lua" = 5.5 ] || make_module_package "$lua"; done
    make_common_package
    make_wscat_package
}

# begin_package NAME: sets `package` and its folder `root`, with the changelog and the licence.
begin_package() {
    package=$1
    root=$work/debian/$1
    documents=$root/usr/share/doc/$1
    mkdir -p "$documents" "$root/DEBIAN"
    gzip --no-name -9 <"$sources/CHANGELOG.md" >"$documents/changelog.gz"
    cp "$sources/LICENSE" "$documents/copyright"
}

# end_package ARCHITECTURE SUMMARY DESCRIPTION [FIELD…]: writes the package. The description may have several lines.
end_package() {
    {
        printf '%s\n' "Package: $package" "Version: $revision" "Architecture: $1" "Maintainer: $maintainer" \
            "Section: interpreters" "Priority: optional" "${@:4}" "Description: $2"
        fold --spaces --width=77 <<<"$3" | sed 's/^/ /; s/ *$//'
    } >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    set_times "$root"
    quietly dpkg-deb dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$root" "$folder/${package}_${revision}_$1.deb"
}

make_module_package() {
    local hosts="Lua $1" recommends="lua$1" depends
    [ "$1" != 5.1 ] || hosts="Lua 5.1 and LuaJIT" recommends="lua5.1 | luajit"
    begin_package "lua$1-websocket"
    install -D -m 644 "$(tree_of "$1")/lib/lua/$1/websocket.so" -t "$root/usr/lib/$triplet/lua/$1"
    licences "$documents/licences"
    printf '\nThe module also contains parts under other licences: see the folder licences.\n' >>"$documents/copyright"
    depends=$(shared_libraries "$root/usr/lib/$triplet/lua/$1/websocket.so")
    end_package "$architecture" "WebSocket client and server for $hosts" \
        "One C module with a background engine: TLS, compression, proxies, reconnecting." \
        "Depends: $depends" "Recommends: $recommends" "Suggests: lua-websocket-common, lua-wscat"
}

# The packages with the shared libraries of a module, and the oldest versions with the symbols that it uses.
shared_libraries() {
    mkdir -p "$work/shlibdeps/debian"
    printf 'Source: websocket\n\nPackage: websocket\nArchitecture: any\n' >"$work/shlibdeps/debian/control"
    (cd "$work/shlibdeps" && dpkg-shlibdeps -O "$1" 2>>"$log" | sed -n 's/^shlibs:Depends=//p')
}

make_common_package() {
    begin_package lua-websocket-common
    cp -r "$(pages)"/. "$documents"
    end_package all "WebSocket client and server for Lua: documentation" \
        "Documentation and examples of the module websocket, and its types for lua-language-server." "Multi-Arch: foreign"
}

make_wscat_package() {
    begin_package lua-wscat
    install -D -m 755 "$sources/tools/wscat.lua" "$root/usr/bin/wscat"
    sed -i '1s|.*|#!/usr/bin/lua5.4|' "$root/usr/bin/wscat"
    mkdir -p "$root/usr/share/man/man1"
    gzip --no-name -9 <"$sources/man/wscat.1" >"$root/usr/share/man/man1/wscat.1.gz"
    end_package all "WebSocket client and server for the terminal" \
        "The command wscat, which talks to a WebSocket server, or is one." \
        "Depends: lua5.4, lua5.4-websocket (>= $version)" "Conflicts: node-ws"
}
