#!/usr/bin/env bash
# toolchain.sh [TARGET]
# Makes a compiler for TARGET (thumbv7m-none-eabi), a QEMU that runs its images and the plugin that counts
# their instructions, and leaves three files in $CARGO_TARGET_DIR/toolchain (target/toolchain):
#   rustc             RUSTC=target/toolchain/rustc cargo build --target thumbv7m-none-eabi
#   qemu-system-arm
#   libinsn.so        from measure/plugin/insn.rs
# rustup's target and a system's QEMU are taken where they exist. Otherwise Debian's packages
# (12 "bookworm" was tried) are unpacked below that directory: nothing is installed, root is not
# needed, and apt verifies what it fetches. A second run takes well under a second.
set -euo pipefail
target=${1-thumbv7m-none-eabi}
oldest=88 # minor version of the oldest rustc that the workspace's edition and dependencies take
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=${CARGO_TARGET_DIR:-$here/../target}
mkdir -p "$base/toolchain"
tools=$(cd "$base/toolchain" && pwd)

die() { echo "toolchain.sh: $*" >&2; exit 1; }
say() { echo "toolchain.sh: $*" >&2; }
# script FILE LINE...: an executable shell script, complete the moment that it exists.
script() { printf '%s\n' '#!/bin/sh' "${@:2}" > "$1.new" && chmod +x "$1.new" && mv "$1.new" "$1"; }

exec 9> "$tools/lock"
flock 9
scratch=$(mktemp -d "$tools/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# Package lists of our own: the system's may be old, and are not ours to update.
apt_lists() {
    { command -v apt-get && command -v dpkg-deb; } > /dev/null || die "no apt-get here to fetch $1 with; $2"
    apt=(-o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=)
    mkdir -p "$scratch"/lists/partial "$scratch"/cache/archives/partial
    apt-get "${apt[@]}" -qq update >&2 || die "apt-get update failed (no network?); $2"
}
# fetch PACKAGE=VERSION...: the packages, in $scratch.
fetch() {
    rm -f "$scratch"/*.deb
    (cd "$scratch" && apt-get "${apt[@]}" -qq download "$@" >&2) || die "apt-get cannot download $*"
}

debian_compiler() {
    local hint="install it with: rustup target add $target"
    local out=$tools/compiler host lld version minor llvm source
    host=$(rustc -vV | sed -n 's/^host: //p')
    # Debian's package has no linker of its own; the one beside rustup's compiler needs no ARM gcc.
    lld=$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld
    [ -x "$lld" ] || die "no rust-lld beside $(command -v rustc); $hint"
    say "rustup has no $target; unpacking Debian's rustc (once, a minute or so)"
    apt_lists "a compiler for $target" "$hint"
    version=$(apt-cache "${apt[@]}" policy rust-web-src | awk '/Candidate/ { print $2 }')
    minor=$(cut -d. -f2 <<< "$version")
    [[ $minor =~ ^[0-9]+$ && $minor -ge $oldest ]] ||
        die "apt offers rustc-web ${version:-not at all}, 1.$oldest is needed; $hint"
    llvm=$(apt-cache "${apt[@]}" show "libstd-rust-web-1.$minor=$version" | grep -oE 'libllvm[0-9]+' | head -1)
    fetch "rustc-web=$version" "libstd-rust-web-1.$minor=$version" "libstd-rust-web-dev=$version" \
        "rust-web-src=$version" "$llvm"

    rm -rf "$out"; mkdir -p "$out"
    for package in rustc-web "libstd-rust-web-1.$minor" libstd-rust-web-dev "$llvm"; do
        dpkg-deb -x "$scratch/$package"_*.deb "$out"
    done
    source=rustc-${version%%+*}
    dpkg-deb --fsys-tarfile "$scratch"/rust-web-src_*.deb |
        tar -x -C "$out" --wildcards "./usr/src/$source/library/*"
    mkdir -p "$out/usr/lib/rustlib/src" "$out/usr/lib/rustlib/$host/bin"
    ln -sfn "../../../src/$source" "$out/usr/lib/rustlib/src/rust"
    ln -sfn "$lld" "$out/usr/lib/rustlib/$host/bin/rust-lld"
    script "$out/rustc" "LD_LIBRARY_PATH='$out/usr/lib/$(uname -m)-linux-gnu' exec '$out/usr/bin/rustc' \"\$@\""
}

# core and compiler_builtins for the target, with bitcode for link-time optimization.
debian_library() {
    local out=$tools/compiler lib
    [ -x "$out/rustc" ] || debian_compiler
    mkdir -p "$scratch/sysroot/src"
    printf '%s\n' '[package]' 'name = "sysroot"' 'edition = "2024"' '[workspace]' \
        '[profile.release]' 'panic = "abort"' 'codegen-units = 1' > "$scratch/sysroot/Cargo.toml"
    echo '#![no_std]' > "$scratch/sysroot/src/lib.rs"
    (cd "$scratch/sysroot" && RUSTC=$out/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
        CARGO_TARGET_DIR=$scratch/build cargo build -q --release --target $target -Zbuild-std=core,alloc) ||
        die "the library of $("$out/rustc" -V) did not build for $target; install it with: rustup target add $target"
    mkdir -p "$out/usr/lib/rustlib/$target/lib"
    for lib in core alloc compiler_builtins; do
        cp "$scratch/build/$target/release/deps/lib$lib"-*.rlib "$out/usr/lib/rustlib/$target/lib/"
    done
}

debian_qemu() {
    local hint="install QEMU's system emulator for ARM" out=$tools/qemu packages lib
    say "no qemu-system-arm on this system; unpacking Debian's (once, some seconds)"
    apt_lists "QEMU" "$hint"
    # What a plain install would add, with versions: the emulator and the libraries missing here.
    packages=$(apt-get "${apt[@]}" install -s --no-install-recommends qemu-system-arm 2> /dev/null |
        awk '/^Inst/ { sub(/^\(/, "", $3); print $2 "=" $3 }')
    [[ $packages == *qemu-system-arm=* ]] || die "apt has no qemu-system-arm; $hint"
    # shellcheck disable=SC2086
    fetch $packages
    rm -rf "$out"; mkdir -p "$out"
    for package in "$scratch"/*.deb; do dpkg-deb -x "$package" "$out"; done
    lib=$(uname -m)-linux-gnu
    script "$out/qemu-system-arm" "LD_LIBRARY_PATH='$out/usr/lib/$lib:$out/lib/$lib'" \
        'export LD_LIBRARY_PATH' "exec '$out/usr/bin/qemu-system-arm' -L '$out/usr/share/qemu' \"\$@\""
}

# The compiler.
libdir=$(rustc --print target-libdir --target $target 2> /dev/null) || die "no rustc on PATH: see https://rustup.rs"
if compgen -G "$libdir/libcore-*.rlib" > /dev/null; then
    script "$tools/rustc" "exec '$(rustc --print sysroot)/bin/rustc' \"\$@\""
else
    compgen -G "$tools/compiler/usr/lib/rustlib/$target/lib/libcompiler_builtins-*.rlib" > /dev/null ||
        debian_library
    script "$tools/rustc" "exec '$tools/compiler/rustc' \"\$@\""
fi

# QEMU.
if system=$(command -v qemu-system-arm); then
    script "$tools/qemu-system-arm" "exec '$system' \"\$@\""
else
    [ -x "$tools/qemu/qemu-system-arm" ] || debian_qemu
    script "$tools/qemu-system-arm" "exec '$tools/qemu/qemu-system-arm' \"\$@\""
fi
qemu=$("$tools/qemu-system-arm" --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
[ -n "$qemu" ] || die "$tools/qemu-system-arm does not run"

# The plugin. QEMU 9 raised the lowest interface version that it loads from 1 to 2; what the plugin
# uses is the same in both.
api=$(( ${qemu%%.*} < 9 ? 1 : 2 ))
plugin=$here/measure/plugin/insn.rs
if [ "$(cat "$tools/libinsn.api" 2> /dev/null)" != $api ] || [ "$plugin" -nt "$tools/libinsn.so" ]; then
    rustc --edition 2024 --crate-type cdylib -O -C panic=abort --cfg "qemu_api=\"$api\"" \
        --check-cfg 'cfg(qemu_api, values("1", "2"))' "$plugin" -o "$tools/libinsn.so"
    echo $api > "$tools/libinsn.api"
fi
say "$("$tools/rustc" -V), QEMU $qemu in $tools"
