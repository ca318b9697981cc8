//! Measurements live in `benches/*.rs`; run them with `cargo bench -p fedmsg-benches`.

pub mod peer;
