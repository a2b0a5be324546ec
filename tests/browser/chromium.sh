#!/bin/sh
# Prints the path of a Chromium: the one that CHROMIUM names, one on the path, or Debian's, which root installs.
find_it() {
    for name in "$CHROMIUM" chromium chromium-browser google-chrome; do
        [ -n "$name" ] && command -v "$name" && return
    done
    return 1
}

give_up() {
    echo "make test-browser: $1; install Chromium or name one: make test-browser CHROMIUM=/path/to/chromium" >&2
    exit 1
}

if [ -n "$CHROMIUM" ]; then
    command -v "$CHROMIUM" || give_up "$CHROMIUM: no such program"
elif ! find_it; then
    command -v apt-get >/dev/null || give_up "no Chromium here and no apt-get"
    [ "$(id -u)" -eq 0 ] || give_up "no Chromium here and not root, who could install it"
    echo "make test-browser: installing Chromium" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 ||
        give_up "apt-get could not install chromium"
    find_it || give_up "apt-get installed no chromium"
fi
