//! The `fedmsg` program; its commands are in `fedmsg::commands`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fedmsg::commands::main()
}
