# Shared by bazel/demo and bazel/test; sourced by bash with ROOT set to the top of the tree.

# The caller's PATH may lead to a version manager's python or to another bazel: only Go is looked
# for there.
CALLER_PATH=$PATH
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
CACHE=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/pyexecd

say() {
    printf '\n== %s\n' "$*"
}

die() {
    printf '\n%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# packages SET...: the names of those sets, one a line.
packages() {
    local set
    for set in "$@"; do
        awk -v set="$set" '$1 == set { print $2 }' "$ROOT/bazel/packages.txt"
    done
}

# missing_packages NAME...: those that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
            printf '%s\n' "$name"
    done
}

# install_packages NAME...: installs what is missing, or stops and says what to do.
install_packages() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
        die "this needs Debian 12 (no apt-get here). The packages are listed in bazel/packages.txt"
    local missing as_root=()
    missing=$(missing_packages "$@")
    if [ -z "$missing" ]; then
        say "All Debian packages are there"
        return
    fi
    say "Installing Debian packages:" $missing
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null ||
            die "not root, and no sudo. As root, run: apt-get install --no-install-recommends" $missing
        as_root=(sudo)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update ||
        die "apt-get update failed: is there a network and a Debian mirror in /etc/apt?"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing ||
        die "apt-get install failed. Packages wanted:" $missing
    missing=$(missing_packages "$@")
    [ -z "$missing" ] || die "still not installed:" $missing
}

# Debian's bazel, and no other that the PATH may have. PYEXEC_OUTPUT_BASE moves its work folder.
bazel() {
    (cd "$ROOT" && /usr/bin/bazel ${PYEXEC_OUTPUT_BASE:+--output_base="$PYEXEC_OUTPUT_BASE"} "$@")
}

# All packages of the tree, without bazel's links: Bazel follows those that another output base made.
PACKAGES=(//:all //bazel/... //clients/... //proto/... //service/... //tests/...)
PROGRAMS=(pyexecd pyexec-zygote pyexec)

# copy_programs FOLDER FLAG...: builds the three programs with these flags and copies them there:
# bazel-bin moves with every build, a copy stays.
copy_programs() {
    local folder=$1 bin program
    shift
    bazel build "$@" "${PROGRAMS[@]/#///:}" || return 1
    bin=$(bazel info "$@" bazel-bin 2>/dev/null) || return 1
    mkdir -p "$folder"
    for program in "${PROGRAMS[@]}"; do
        cp -f "$bin/$program" "$folder/" && chmod 755 "$folder/$program" || return 1
    done
}
