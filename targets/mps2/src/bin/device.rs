//! The image for Ethernet: puts board, network and application together.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("device: this program runs on a Cortex-M3; see targets/README.md");
    std::process::exit(2);
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    fedmsg_mps2::start::run(device::app)
}

#[cfg(target_os = "none")]
mod device {
    use core::mem::MaybeUninit;

    use fedmsg_mps2::{
        app::{App, Owner, RING},
        board::{self, Ethernet, Static},
        ip::{Ip, SUBSCRIBERS, net::Storage},
        start,
    };

    type Device = App<Ip<Ethernet>, SUBSCRIBERS>;

    static STORAGE: Static<Storage> = Static::new(Storage::new());
    static MESSAGES: Static<[u8; RING]> = Static::new([0; RING]);
    static APP: Static<MaybeUninit<Device>> = Static::new(MaybeUninit::uninit());

    #[inline(never)] // what it has on the stack is gone before there is more
    pub(crate) fn app(mut owner: Owner) -> Option<&'static mut Device> {
        start::check_network(&owner)?;
        let Some(ethernet) = board::ethernet(owner.provision.mac) else {
            defmt::error!("no Ethernet controller, this device does nothing");
            return None;
        };
        let storage = STORAGE.give()?;
        let ip = Ip::new(&owner.provision, ethernet, &mut owner.random, storage);
        let app = App::new(owner, ip, board::SENSES, MESSAGES.give()?);
        Some(APP.give()?.write(app))
    }
}
