#![cfg_attr(target_os = "none", no_std, no_main)]
fedmsg_measure::image!(run);
fn run() {}
