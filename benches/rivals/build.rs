//! Builds libzmq 4.3.5 from source.

fn main() {
    zeromq_src::Build::new().build();
}
