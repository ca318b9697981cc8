//! Nothing but the start and a section around nothing: what is subtracted from the others.
#![cfg_attr(target_os = "none", no_std, no_main)]

fedmsg_measure::image!(run);

fn run() {
    fedmsg_measure::section("nothing", |()| (), &mut ());
}
