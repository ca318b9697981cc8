//! What every image does first: it looks at what it was provisioned with.

#[cfg(any(feature = "ip", feature = "embassy"))]
use fedmsg_core::provision::Bus;
use fedmsg_core::{
    crypto::Signer,
    provision::{Error, Provision, VERSION},
};

use crate::{
    app::{App, Owner},
    board,
    entropy::Entropy,
    transport::Transport,
};

/// Reads the flash: whose device this is. `None`, and a line in the log, for one that is not fit to
/// run. To be called once.
#[inline(never)]
pub fn read() -> Option<Owner> {
    defmt::info!("fedmsg device {=str}", env!("CARGO_PKG_VERSION"));
    let provision = match Provision::parse(board::provision()) {
        Ok(provision) => provision,
        Err(error) => {
            refuse(error);
            return None;
        }
    };
    Some(Owner {
        signer: signer(&provision)?,
        random: Entropy::new(provision.seed),
        provision,
    })
}

/// `None`, and a line in the log, for a device that was not provisioned for a network.
#[cfg(any(feature = "ip", feature = "embassy"))]
pub fn check_network(owner: &Owner) -> Option<()> {
    if owner.provision.bus == Bus::Serial {
        defmt::error!("provisioned for a serial line, and this firmware has a network");
        return None;
    }
    Some(())
}

/// Starts the board and runs the device that `app` makes, if it is fit to run, for ever.
pub fn run<T: Transport<LINKS>, const LINKS: usize>(
    app: fn(Owner) -> Option<&'static mut App<T, LINKS>>,
) -> ! {
    let Some(mut clock) = board::start() else {
        board::restart()
    };
    let Some(app) = read().and_then(app) else {
        give_up()
    };
    loop {
        if !app.turn(clock.now(), board::console::read) {
            board::sleep();
        }
    }
}

/// Somebody has to come and look. Starting again would change nothing.
pub fn give_up() -> ! {
    loop {
        board::sleep();
    }
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

#[cfg(feature = "signed")]
#[inline(never)] // what it has on the stack is gone before there is more
fn signer(provision: &Provision<'static>) -> Option<Option<&'static dyn Signer>> {
    use core::mem::MaybeUninit;

    use fedmsg_core::crypto::comb::CombSigner;

    static SIGNER: board::Static<MaybeUninit<CombSigner<'static>>> =
        board::Static::new(MaybeUninit::uninit());

    let Some(identity) = provision.identity else {
        defmt::warn!("no key is provisioned: nothing is signed");
        return Some(None);
    };
    let Ok(signer) = CombSigner::new(identity.key, identity.certificate_field) else {
        defmt::error!("the provisioned key is none, this device does nothing");
        return None;
    };
    Some(Some(SIGNER.give()?.write(signer)))
}

/// Without the code that signs, a device with a key must not speak as one that has none.
#[cfg(not(feature = "signed"))]
fn signer(provision: &Provision<'static>) -> Option<Option<&'static dyn Signer>> {
    if provision.identity.is_some() {
        defmt::error!("a key is provisioned, and this firmware cannot sign: it does nothing");
        return None;
    }
    Some(None)
}
