//! What a device refuses to be.

use std::net::SocketAddrV4;

use fedmsg_core::provision::{Bus, Identity, Provision};
use fedmsg_emulator::{HOST, Options};

use crate::{Lab, unsigned};

#[test]
#[ignore = "targets/mps2/run test"]
fn what_a_device_is_provisioned_with_is_refused_by_name_where_it_is_no_good() {
    let lab = Lab::new();
    let good = lab.blob("device-1", Bus::Listen(9940), 100);
    let changed = |at: usize, bits: u8| {
        let mut blob = good.clone();
        blob[at] ^= bits;
        blob
    };
    let seed = [1; 32];
    let mut no_key = vec![0; 4096];
    let len = Provision {
        identity: Some(Identity {
            key: &[0; 32],
            certificate_field: b"QQ==",
        }),
        ..unsigned(&seed, SocketAddrV4::new(HOST, 123))
    }
    .write(&mut no_key)
    .expect("room");
    no_key.truncate(len);
    for (blob, line) in [
        (vec![], "nothing is provisioned"),
        (changed(8, 3), "format 2"),
        (changed(100, 1), "damaged or cut off"),
        (good[..good.len() - 8].to_vec(), "damaged or cut off"),
        (no_key, "key is none"),
    ] {
        lab.boot(&blob, &Options::default())
            .wait_for(line)
            .expect("a clear line");
    }
}
