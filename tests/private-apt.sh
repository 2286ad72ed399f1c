# shellcheck shell=bash
# An apt of our own for the test scripts: it reads the machine's mirror and proxy from the machine's configuration,
# and keeps lists, state and downloads in a directory of ours. The system's apt, its lists and its hooks stay untouched.
# Sourced by corpus/fetch and real-nix; knows nothing of what they download.

apt_env=()

# private_apt DIR SUITE TYPE: prepares DIR for SUITE, TYPE `deb` or `deb-src`, and sets the array `apt_env`,
# to be put before each apt command. Fails with a reason on standard error.
private_apt() {
    local dir=$1 suite=$2 type=$3 uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    command -v apt-get >/dev/null || { echo "no apt-get on this machine" >&2; return 1; }
    [ -r "$keyring" ] || { echo "no Debian archive keyring: \`$keyring\`" >&2; return 1; }
    uri=$(debian_mirror)
    [ -n "$uri" ] || { echo "apt's configuration names no Debian mirror" >&2; return 1; }

    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/empty"
    [ -e "$dir/status" ] || : >"$dir/status"
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$type" "$uri" "$suite" "$keyring" >"$dir/suite.sources"

    # How the machine reaches its mirror (proxies, retries) is kept; its hooks are not: they clean the system's cache.
    # Old releases and mirrors that stand still have expired Release files; the pins are what we trust.
    # A proxy may carry a password, hence the mode.
    (umask 077 && {
        apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(Languages\|IndexTargets\|GzipIndexes\)'
        printf 'Acquire::%s;\n' 'Languages "none"' 'Check-Valid-Until "false"' 'Retries "3"' \
            'IndexTargets::deb::Contents-deb::DefaultEnabled "false"' \
            'IndexTargets::deb::DEP-11::DefaultEnabled "false"'
        printf 'APT::%s;\n' 'Sandbox::User ""' 'Install-Recommends "false"'
        printf 'Dir::%s;\n' "State \"$dir\"" "State::lists \"$dir/lists\"" "State::status \"$dir/status\"" \
            "State::extended_states \"$dir/extended_states\"" \
            "Cache \"$dir/cache\"" "Cache::archives \"$dir/cache/archives\"" \
            "Etc::SourceList \"$dir/suite.sources\"" "Etc::SourceParts \"$dir/empty\"" \
            "Etc::Parts \"$dir/empty\"" "Etc::Main \"/dev/null\"" \
            "Etc::Preferences \"/dev/null\"" "Etc::PreferencesParts \"$dir/empty\""
    } >"$dir/apt.conf")
    # Read by the script that sources this file.
    # shellcheck disable=SC2034
    apt_env=(env "APT_CONFIG=$dir/apt.conf" LC_ALL=C DEBIAN_FRONTEND=noninteractive)
}

# The archive's address as this machine's apt knows it: its first source of a Debian suite, not a derived one
# such as `-security`, which is another archive.
debian_mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null |
        awk '$1 ~ /^(bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)$/ && !n++ { print $2 }'
}
