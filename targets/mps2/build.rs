//! Links the image by cortex-m-rt's script, the board's memory map and defmt's table of texts.

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    println!("cargo::rerun-if-changed=embassy/memory.x");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        // The first `memory.x` found counts.
        if std::env::var_os("CARGO_FEATURE_EMBASSY").is_some() {
            println!(
                "cargo::rustc-link-search={}/embassy",
                env!("CARGO_MANIFEST_DIR")
            );
        }
        println!("cargo::rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-link-arg-bins=-Tlink.x");
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
        // Relocations stay in the file (not in flash), for who calls whom.
        println!("cargo::rustc-link-arg-bins=--emit-relocs");
    }
}
