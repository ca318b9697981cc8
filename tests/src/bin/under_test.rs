//! The `fedmsg` program, where tests of this package find it.

fn main() -> std::process::ExitCode {
    fedmsg::commands::main()
}
