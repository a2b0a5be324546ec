#!/bin/sh
# Prints the path of a Chromium: the one that CHROMIUM names, one on the path, or Debian's, which root installs.
# Where none can be had, prints nothing but one line on stderr that says why: the tests are then skipped.
find_it() {
    for name in "$CHROMIUM" chromium chromium-browser google-chrome; do
        # a name may stand for a program that only says what to install
        [ -n "$name" ] && "$name" --version >/dev/null 2>&1 && command -v "$name" && return
    done
    return 1
}

give_up() {
    echo "make test-browser: skipped, $1; install Chromium or name one: make test-browser CHROMIUM=/path/to/chromium" >&2
    exit 0
}

if [ -n "$CHROMIUM" ] && ! command -v "$CHROMIUM" >/dev/null; then
    echo "make test-browser: CHROMIUM=$CHROMIUM: no such program" >&2
    exit 1
fi
if ! find_it; then
    command -v apt-get >/dev/null || give_up "no Chromium here and no apt-get"
    [ "$(id -u)" -eq 0 ] || give_up "no Chromium here and not root, who could install it"
    echo "make test-browser: installing Chromium" >&2
    export DEBIAN_FRONTEND=noninteractive
    hurried="-qq -o Acquire::Retries=0 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20"
    {
        apt-get $hurried update &&
            apt-get $hurried install -y --no-install-recommends chromium fonts-dejavu-core
    } >/dev/null 2>&1 || give_up "apt-get could not install chromium"
    find_it || give_up "apt-get installed no chromium"
fi
