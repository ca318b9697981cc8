//! The image: puts board, network and application together.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("device: this program runs on a Cortex-M3; see targets/README.md");
    std::process::exit(2);
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    device::run()
}

#[cfg(target_os = "none")]
mod device {
    use core::mem::MaybeUninit;

    use fedmsg_core::{
        crypto::{Signer, p256::P256Signer},
        provision::{Error, Identity, Provision, VERSION},
    };
    use fedmsg_mps2::{
        app::{App, RING, Senses},
        board::{self, Ethernet, Static},
        net::Storage,
    };

    static SIGNER: Static<MaybeUninit<P256Signer<'static>>> = Static::new(MaybeUninit::uninit());
    static STORAGE: Static<Storage> = Static::new(Storage::new());
    static MESSAGES: Static<[u8; RING]> = Static::new([0; RING]);
    static APP: Static<MaybeUninit<App<Ethernet>>> = Static::new(MaybeUninit::uninit());

    pub(crate) fn run() -> ! {
        let Some(mut clock) = board::start() else {
            board::restart()
        };
        defmt::info!("fedmsg device {=str}", env!("CARGO_PKG_VERSION"));
        let Some(app) = start() else {
            // Somebody has to come and look. Starting again would change nothing.
            loop {
                board::sleep();
            }
        };
        loop {
            if !app.turn(clock.now(), board::console::read) {
                board::sleep();
            }
        }
    }

    /// `None`, and a line in the log, for a device that is not fit to run.
    #[inline(never)]
    fn start() -> Option<&'static mut App<Ethernet>> {
        let provision = match Provision::parse(board::provision()) {
            Ok(provision) => provision,
            Err(error) => {
                refuse(error);
                return None;
            }
        };
        let signer = match provision.identity {
            Some(identity) => Some(signer(identity)?),
            None => {
                defmt::warn!("no key is provisioned: nothing is signed");
                None
            }
        };
        let Some(ethernet) = board::ethernet(provision.mac) else {
            defmt::error!("no Ethernet controller, this device does nothing");
            return None;
        };
        app(provision, signer, ethernet)
    }

    // Each by itself: what they have on the stack is not there at the same time.

    #[inline(never)]
    fn signer(identity: Identity<'static>) -> Option<&'static dyn Signer> {
        let Ok(signer) = P256Signer::new(identity.key, identity.certificate_field) else {
            defmt::error!("the provisioned key is none, this device does nothing");
            return None;
        };
        Some(SIGNER.give()?.write(signer))
    }

    #[inline(never)]
    fn app(
        provision: Provision<'static>,
        signer: Option<&'static dyn Signer>,
        ethernet: Ethernet,
    ) -> Option<&'static mut App<Ethernet>> {
        let senses = Senses {
            buttons: board::buttons,
            stack: board::stack::deepest,
        };
        let (storage, ring) = (STORAGE.give()?, MESSAGES.give()?);
        let app = App::new(provision, signer, ethernet, senses, storage, ring);
        Some(APP.give()?.write(app))
    }

    fn refuse(error: Error) {
        match error {
            Error::Missing => defmt::error!(
                "nothing is provisioned: put a file of `fedmsg ca issue --device` into the flash"
            ),
            Error::Version { found } => defmt::error!(
                "provisioned in format {=u16}, this firmware knows {=u16}",
                found,
                VERSION
            ),
            Error::Field(name) => defmt::error!("the provisioned {=str} makes no sense", name),
            _ => defmt::error!("what is provisioned is damaged or cut off"),
        }
    }
}
