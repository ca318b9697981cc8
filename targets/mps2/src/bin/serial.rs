//! The image for a serial line: puts board, line and application together.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("serial: this program runs on a Cortex-M3; see targets/README.md");
    std::process::exit(2);
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    fedmsg_mps2::start::run(serial::app)
}

#[cfg(target_os = "none")]
mod serial {
    use core::mem::MaybeUninit;

    use fedmsg_core::provision::Bus;
    use fedmsg_mps2::{
        app::{App, Owner, RING},
        board::{self, SerialLine, Static},
        serial::Serial,
    };

    type Device = App<Serial<SerialLine>, 1>;

    static MESSAGES: Static<[u8; RING]> = Static::new([0; RING]);
    static APP: Static<MaybeUninit<Device>> = Static::new(MaybeUninit::uninit());

    #[inline(never)] // what it has on the stack is gone before there is more
    pub(crate) fn app(owner: Owner) -> Option<&'static mut Device> {
        if owner.provision.bus != Bus::Serial {
            defmt::error!(
                "provisioned for a network, and this firmware has a serial line: use `fedmsg ca issue --device --serial`"
            );
            return None;
        }
        let serial = Serial::new(board::serial_line());
        let app = App::new(owner, serial, board::SENSES, MESSAGES.give()?);
        Some(APP.give()?.write(app))
    }
}
