//! Certificates of the legacy wire, judged by us and by the program `openssl`: the same verdict in
//! every case.

#![cfg(feature = "x509")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fedmsg::crypto::Trust;
use fedmsg_core::crypto::{Refusal, Verifier};
use tempfile::TempDir;

#[test]
fn certificates_are_judged_as_openssl_judges_them() {
    let site = Site::new();
    let leaves = site.leaves();
    let mut reasons = BTreeSet::new();
    for authority in AUTHORITIES {
        for lists in LISTS {
            let ca = site.path(&format!("{authority}.crt"));
            let crl = lists.map(|list| site.path(&format!("{list}.crl")));
            // A list that none of the CAs signed is an error of the file.
            let trust = match Trust::load(&ca, crl.as_deref()) {
                Ok(trust) => trust,
                Err(error) => {
                    let foreign = error.to_string().contains("was not issued by this CA");
                    assert!(foreign && Some(*authority) != *lists, "{error}");
                    continue;
                }
            };
            for at in TIMES {
                let expected = site.openssl(&ca, crl.as_deref(), &leaves, at);
                for (leaf, expected) in leaves.iter().zip(expected) {
                    let pem = fs::read(leaf).unwrap();
                    let mut name = [0; 99];
                    let found = trust.x509().verify(&[b""], b"", &pem, at, &mut name);
                    let found = match found.unwrap_err() {
                        // Its certificate is good.
                        Refusal::Signature => None,
                        other => Some(other),
                    };
                    assert_eq!(found, expected, "{ca:?} {crl:?} {leaf:?} at {at}");
                    reasons.insert(format!("{found:?}"));
                }
            }
        }
    }
    // It was a matrix of all kinds.
    let all = [
        "None",
        "Some(Expired)",
        "Some(NotYetValid)",
        "Some(RevocationList)",
        "Some(RevocationListDate)",
        "Some(Revoked)",
        "Some(Untrusted)",
    ];
    assert_eq!(reasons, all.map(str::to_owned).into());
}

/// The CAs, each of which is a file of certificates that are trusted: RSA and SHA of old and new,
/// of version 1, one that may sign certificates but no lists, one of the same name as the first,
/// P-256, and an intermediate one, alone and with its root.
const AUTHORITIES: &[&str] = &[
    "old", "new", "v1", "nolists", "twin", "p256", "middle", "chain",
];
/// Each CA's list, of version 1 and 2, and one that is out of date.
const LISTS: &[Option<&str>] = &[
    None,
    Some("old"),
    Some("old-v1"),
    Some("old-ended"),
    Some("new"),
    Some("v1"),
    Some("nolists"),
    Some("twin"),
    Some("p256"),
    Some("middle"),
    Some("chain"),
];
/// Before, within and after the validity of senders, of lists and of CAs (2012 to 2035).
const TIMES: [u64; 4] = [1_300_000_000, 1_400_000_000, 1_700_000_000, 2_100_000_000];

/// What the program `openssl` made.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(TempDir::new().unwrap());
        let output = Command::new("sh")
            .arg("-e")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/chains.sh"))
            .current_dir(site.0.path())
            .output()
            .expect("sh runs");
        assert!(
            output.status.success(),
            "this test needs openssl (apt install openssl): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Every certificate, the CAs' too.
    fn leaves(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.0.path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let mut leaves: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|ending| ending == "crt"))
            .filter(|path| {
                !["chain.crt", "p256.crt"]
                    .map(|name| path.ends_with(name))
                    .contains(&true)
            })
            .collect();
        assert!(leaves.len() > 20);
        leaves.sort();
        leaves
    }

    /// What `openssl verify` says of each.
    fn openssl(
        &self,
        ca: &Path,
        crl: Option<&Path>,
        leaves: &[PathBuf],
        at: u64,
    ) -> Vec<Option<Refusal>> {
        let mut command = Command::new("openssl");
        command.args(["verify", "-no-CApath", "-no-CAstore"]);
        command
            .args(["-attime", &at.to_string()])
            .arg("-CAfile")
            .arg(ca);
        if let Some(crl) = crl {
            command
                .args(["-crl_check", "-crl_check_all", "-CRLfile"])
                .arg(crl);
        }
        let output = command.args(leaves).output().unwrap();
        let good = String::from_utf8(output.stdout).unwrap();
        let bad = String::from_utf8(output.stderr).unwrap();
        let verdict = |leaf: &PathBuf| {
            let leaf = leaf.to_str().unwrap();
            if good.contains(&format!("{leaf}: OK\n")) {
                return None;
            }
            // The first error is said first.
            let end = bad.find(&format!("error {leaf}: verification failed"));
            let said = &bad[..end.unwrap()];
            let start = said.rfind("verification failed").unwrap_or(0);
            let error = said[start..]
                .lines()
                .find_map(|line| line.strip_prefix("error "));
            Some(match error.unwrap().split(' ').next().unwrap() {
                "9" => Refusal::NotYetValid,
                "10" => Refusal::Expired,
                "11" | "12" => Refusal::RevocationListDate,
                "23" => Refusal::Revoked,
                "3" | "8" | "33" | "35" | "36" | "44" => Refusal::RevocationList,
                _ => Refusal::Untrusted,
            })
        };
        leaves.iter().map(verdict).collect()
    }
}
