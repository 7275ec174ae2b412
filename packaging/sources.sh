# Sourced by scripts/release: the archive of the sources, the rockspec, and what all packages need: the time of the
# commit, the owner and the order of files, so that the bytes are the same each time.
# shellcheck shell=bash disable=SC2154 # scripts/release sets the variables that the files share.

need_to_release() {
    local lua
    for lua in 5.1 5.2 5.3; do need_lua "$lua"; done
    need luarocks "makes the rocks" luarocks
    need zip "packs the rocks" zip
    need unzip "unpacks the rocks" unzip
    need dpkg-shlibdeps "finds what the Debian packages depend on" dpkg-dev
}

# set_times FOLDER: gives all below the folder the time of the commit, and the permissions of a new checkout.
set_times() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -type f -perm /111 -exec chmod 755 {} +
    find "$1" -type f ! -perm /111 -exec chmod 644 {} +
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# write_rockspec VERSION URL: prints the rockspec of a release.
write_rockspec() {
    sed -e "s|^version = .*|version = \"$1-1\"|" -e "s|url = .*|url = \"$2/websocket-$1.tar.gz\",|" websocket-scm-1.rockspec
}

# Sets version, name, sources and SOURCE_DATE_EPOCH; writes the archive of the last commit and the rockspec, and unpacks
# that archive, of which everything else is made.
unpack_sources() {
    [ -z "$(git status --porcelain)" ] || echo "left out: changes that are not committed"
    version=$(git show HEAD:Sources/CLua/version.h | sed -n 's/^#define WS_VERSION "\(.*\)"$/\1/p')
    name=websocket-$version
    sources=$work/$name
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    export SOURCE_DATE_EPOCH TZ=UTC
    git archive --format=tar --prefix="$name/" HEAD | gzip --no-name -9 >"$folder/$name.tar.gz"
    tar -xf "$folder/$name.tar.gz" -C "$work"
    ! grep -q "^## .*unreleased" CHANGELOG.md || echo "before you publish: CHANGELOG.md has a chapter that is unreleased"
    rockspec=$folder/$name-1.rockspec
    (cd "$sources" && write_rockspec "$version" "$url") >"$rockspec"
    quietly "luarocks lint" luarocks lint "$rockspec"
}
