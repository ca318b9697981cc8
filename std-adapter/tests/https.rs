//! CA certificates and revocation lists from an `https` server of the test's own.

#![cfg(feature = "https")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use fedmsg::crypto::{FileSigner, KeyKind, Scratch, Validator, ValidatorOptions, ca::Ca, reason};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

const DAY: u64 = 86400;

/// Where the process finds that trusts the server.
const TRUSTING: &str = "FEDMSG_TEST_TRUSTS";

#[test]
fn what_urls_give_is_trusted_kept_and_fetched_again() {
    if let Some(dir) = env::var_os(TRUSTING) {
        let server = Server::start(Path::new(&dir));
        a_start_takes_what_is_kept(&server);
        a_broken_copy_is_fetched_again(&server);
        an_old_copy_is_better_than_none(&server);
        a_message_that_fails_has_it_fetched_again(&server);
        an_old_list_is_fetched_again(&server);
        what_cannot_be_fetched_is_named(&server);
        return;
    }
    let dir = TempDir::new().unwrap();
    certificates(dir.path());

    // Without trust in the server.
    let server = Server::start(dir.path());
    let site = Site::new();
    server.serve(&site, "one");
    let said = Validator::new(server.options(&site))
        .err()
        .unwrap()
        .to_string();
    let url = format!("cannot fetch {}/ca.crt: ", server.url);
    assert!(said.starts_with(&url), "{said}");
    assert!(said.contains("certificate"), "{said}");

    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "what_urls_give_is_trusted_kept_and_fetched_again",
            "--nocapture",
        ])
        .env(TRUSTING, dir.path())
        .env("SSL_CERT_FILE", dir.path().join("root.crt"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{errors}"
    );
}

fn a_start_takes_what_is_kept(server: &Server) {
    let site = Site::new();
    server.serve(&site, "one");
    assert_eq!(
        site.judge(&server.validator(&site), "one", "one")
            .as_deref(),
        Ok("one")
    );
    assert_eq!(
        site.judge(&server.validator(&site), "one", "revoked"),
        Err("revoked")
    );
    assert_eq!(server.requests(), 2);
    for name in ["ca.crt", "crl.pem"] {
        let kept = fs::read(site.path(&format!("kept-{name}"))).unwrap();
        assert_eq!(kept, fs::read(site.path(&format!("one/{name}"))).unwrap());
    }
}

fn a_broken_copy_is_fetched_again(server: &Server) {
    let site = Site::new();
    server.serve(&site, "one");
    for broken in [
        "",
        "nothing",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ] {
        fs::write(site.path("kept-ca.crt"), broken).unwrap();
        assert_eq!(
            site.judge(&server.validator(&site), "one", "one")
                .as_deref(),
            Ok("one")
        );
        let kept = fs::read_to_string(site.path("kept-ca.crt")).unwrap();
        assert_eq!(kept, fs::read_to_string(site.path("one/ca.crt")).unwrap());
    }
}

fn an_old_copy_is_better_than_none(server: &Server) {
    let site = Site::new();
    server.serve(&site, "one");
    server.validator(&site);
    let file = File::options()
        .write(true)
        .open(site.path("kept-crl.pem"))
        .unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600))
        .unwrap();
    let before = server.requests();
    server.files.lock().unwrap().clear();
    assert_eq!(
        site.judge(&server.validator(&site), "one", "one")
            .as_deref(),
        Ok("one")
    );
    // The list was too old, the CA's certificate never is.
    assert_eq!(server.requests(), before + 1);
}

fn a_message_that_fails_has_it_fetched_again(server: &Server) {
    let site = Site::new();
    server.serve(&site, "one");
    server.validator(&site);
    let validator = server.validator(&site);
    assert_eq!(site.judge(&validator, "one", "one").as_deref(), Ok("one"));
    // It was kept, so nothing was fetched yet. Now the CA is another one.
    server.serve(&site, "two");
    let before = server.requests();
    assert_eq!(site.judge(&validator, "two", "one").as_deref(), Ok("one"));
    assert_eq!(server.requests(), before + 2);
    // But not for every message.
    for _ in 0..20 {
        assert_eq!(site.judge(&validator, "one", "one"), Err("untrusted"));
    }
    assert_eq!(server.requests(), before + 2);
    let kept = fs::read(site.path("kept-ca.crt")).unwrap();
    assert_eq!(kept, fs::read(site.path("two/ca.crt")).unwrap());
}

fn an_old_list_is_fetched_again(server: &Server) {
    let site = Site::new();
    server.serve(&site, "one");
    let options = ValidatorOptions {
        crl_cache_expiry: 1,
        ..server.options(&site)
    };
    let validator = Validator::new(options).unwrap();
    assert_eq!(site.judge(&validator, "one", "one").as_deref(), Ok("one"));
    let now = now();
    Ca::open(&site.path("one"))
        .unwrap()
        .revoke("one", now)
        .unwrap();
    server.serve(&site, "one");
    let start = Instant::now();
    while site.judge(&validator, "one", "one") != Err("revoked") {
        assert!(start.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(50));
    }
    // What is no list does not take its place.
    let path = "/crl.pem".to_owned();
    server
        .files
        .lock()
        .unwrap()
        .insert(path, b"sign in first".to_vec());
    let before = server.requests();
    while server.requests() < before + 1 {
        assert_eq!(site.judge(&validator, "one", "one"), Err("revoked"));
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_millis(200));
    assert_eq!(site.judge(&validator, "one", "one"), Err("revoked"));
    let kept = fs::read(site.path("kept-crl.pem")).unwrap();
    assert_eq!(kept, fs::read(site.path("one/crl.pem")).unwrap());
}

fn what_cannot_be_fetched_is_named(server: &Server) {
    let site = Site::new();
    for (content, part) in [
        (None, "404"),
        (Some(vec![b'x'; 17 << 20]), "limit"),
        (Some(b"nothing".to_vec()), "holds no PEM block"),
    ] {
        let mut files = server.files.lock().unwrap();
        files.clear();
        files.extend(content.map(|content| ("/ca.crt".to_owned(), content)));
        drop(files);
        let options = ValidatorOptions {
            crl_location: None,
            ca_cert_location: server.url.replace("https://", "https://me:secret@") + "/ca.crt",
            ..server.options(&site)
        };
        let said = Validator::new(options).err().unwrap().to_string();
        let url = format!("{}/ca.crt", server.url);
        assert!(said.contains(&url) && said.contains(part), "{said}");
        assert!(!said.contains("secret"), "{said}");
        assert!(!site.path("kept-ca.crt").exists());
    }
}

/// Two P-256 CAs, `one` and `two`, with the senders `one` and `revoked`; and a place for copies.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["one", "two"] {
            let ca = Ca::init(&dir.path().join(name), "CA", KeyKind::P256, 100, now()).unwrap();
            for sender in ["one", "revoked"] {
                ca.issue(sender, None, None, now()).unwrap();
            }
            ca.revoke("revoked", now()).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn judge(&self, validator: &Validator, ca: &str, name: &str) -> Result<String, &'static str> {
        let signer = FileSigner::load(&self.path(ca), name).unwrap();
        let mut scratch = Scratch::default();
        let message = scratch
            .sign(br#"{"topic": "a.b", "msg": 1}"#, &signer)
            .unwrap();
        let verdict = validator.validate(message);
        verdict
            .map(|valid| valid.signer)
            .map_err(|invalid| reason(&invalid))
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - DAY
}

/// A CA for the server, and its certificate.
fn certificates(dir: &Path) {
    let script = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj '/CN=root' -keyout root.key -out root.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=server' \
            -keyout server.key -out server.csr
        echo 'subjectAltName = IP:127.0.0.1' >extensions
        openssl x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -days 2 \
            -extfile extensions -out server.crt";
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "this test needs openssl: apt install openssl: {output:?}"
    );
}

/// Ends with the process, which is the test's.
struct Server {
    url: String,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    requests: Arc<Mutex<usize>>,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(dir.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let files = Arc::<Mutex<HashMap<String, Vec<u8>>>>::default();
        let requests = Arc::<Mutex<usize>>::default();
        let (served, counted) = (Arc::clone(&files), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                // A client that does not trust it goes away.
                let _ = answer(StreamOwned::new(connection, stream), &served, &counted);
            }
        });
        Self {
            url,
            files,
            requests,
        }
    }

    /// Serves what this CA of a site has.
    fn serve(&self, site: &Site, ca: &str) {
        let mut files = self.files.lock().unwrap();
        for name in ["ca.crt", "crl.pem"] {
            let content = fs::read(site.path(&format!("{ca}/{name}"))).unwrap();
            files.insert(format!("/{name}"), content);
        }
    }

    fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }

    fn options(&self, site: &Site) -> ValidatorOptions {
        ValidatorOptions {
            crypto_validate_backends: vec!["x509-p256".into()],
            ca_cert_location: format!("{}/ca.crt", self.url),
            ca_cert_cache: Some(site.path("kept-ca.crt")),
            crl_location: Some(format!("{}/crl.pem", self.url)),
            crl_cache: Some(site.path("kept-crl.pem")),
            ..ValidatorOptions::default()
        }
    }

    fn validator(&self, site: &Site) -> Validator {
        Validator::new(self.options(site)).unwrap()
    }
}

fn answer(
    stream: StreamOwned<ServerConnection, TcpStream>,
    files: &Mutex<HashMap<String, Vec<u8>>>,
    requests: &Mutex<usize>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request)?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    *requests.lock().unwrap() += 1;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let content = files.lock().unwrap().get(path).cloned();
    let (status, content) = match content {
        Some(content) => ("200 OK", content),
        None => ("404 Not Found", Vec::new()),
    };
    let len = content.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&content)?;
    stream.conn.send_close_notify();
    stream.flush()
}
