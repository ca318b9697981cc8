//! The README shows the code that there is.

#[test]
fn the_readme_shows_the_example_that_is_run_on_hosts_and_compiled_for_devices() {
    let app = include_str!("../examples/device/app.rs").replace("pub(crate) ", "pub ");
    assert!(include_str!("../README.md").contains(&format!("```rust\n{app}```\n")));
}
