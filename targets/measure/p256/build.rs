//! Links the images as `../build.rs` does, and what is in C where `compare` has compiled it.

fn main() {
    println!("cargo::rerun-if-env-changed=C_ARCHIVE");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-search={}/..", env!("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-link-arg-bins=-Tlink.x");
        if let Ok(directory) = std::env::var("C_ARCHIVE") {
            println!("cargo::rustc-link-search={directory}");
            println!("cargo::rustc-link-lib=static=compared");
        }
    }
}
