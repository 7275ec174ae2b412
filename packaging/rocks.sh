# Sourced by scripts/release: a binary rock for each version of Lua. LuaRocks builds and installs into a tree of its own
# for each version, from which the other packages are made, too.
# shellcheck shell=bash disable=SC2154 # scripts/release sets the variables that the files share.

# tree_of VERSION: prints the folder of LuaRocks' tree.
tree_of() { echo "$work/tree-$1"; }

# pages: prints the folder with the documentation, the examples and the types, the same for all versions of Lua.
pages() { echo "$(tree_of 5.4)/lib/luarocks/rocks-5.4/websocket/$version-1/doc"; }

make_rocks() {
    local lua
    for lua in "${versions[@]}"; do make_rock "$lua"; done
}

make_rock() {
    local options=(--lua-version="$1" --tree="$(tree_of "$1")") variables=()
    echo "rock for Lua $1"
    if [ "$1" = 5.5 ]; then
        options+=(--lua-dir="$WEBSOCKET_LUA55")
        variables=(LUA_INCDIR="$work/headers")
        # Debian's LuaRocks looks for this number in lua.h, where 5.5 has a sum.
        cp -r "$WEBSOCKET_LUA55/include" "$work/headers"
        echo '/* LUA_VERSION_NUM 505 */' >>"$work/headers/lua.h"
    fi
    # CMake would keep the interpreter of another version. What Swift has built stays.
    rm -f "$sources/build.luarocks/CMakeCache.txt"
    (
        export HOME=$work # without the user's settings of LuaRocks
        unset SWIFT_BUILD_DIR
        cd "$sources" || exit
        quietly "rock for Lua $1" luarocks "${options[@]}" make --deps-mode=none "$rockspec" "${variables[@]}"
        cd "$work" || exit
        quietly "luarocks pack" luarocks "${options[@]}" pack websocket
    )
    repack "$work/$name-1.linux-$(uname -m).rock" "$folder/lua$1"
}

# repack ROCK FOLDER: LuaRocks writes the time of the build into the rock, and files in the order of the file system.
repack() {
    local contents=$work/rock
    rm -rf "$contents"
    mkdir -p "$contents" "$2"
    quietly unzip unzip -q "$1" -d "$contents"
    rm "$1"
    set_times "$contents"
    (cd "$contents" && find . -type f -printf '%P\n' | LC_ALL=C sort | zip -q -X -9 -@ "$1")
    mv "$1" "$2"
}
