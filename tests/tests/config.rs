//! Configuration files as Python fedmsg 1.1.7 reads them, and what its `fedmsg-config` prints.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use fedmsg::config::{Config, Logging};
use fedmsg_tests::python::environment;
use log::Level;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The shapes that real sites' Python files have.
const SHAPES: [(&str, &str); 13] = [
    (
        "a plain dictionary",
        r#"
config = {
    "topic_prefix": "org.example",
    "environment": "stg",
    "endpoints": {"bodhi.app01": ["tcp://app01:3000", "tcp://app01:3001"]},
    "sign_messages": False,
    "routing_policy": {"org.example.stg.bodhi.update": ["bodhi-app01", "bodhi-app02"]},
    "nothing": None,
}
"#,
    ),
    (
        "formatted text",
        r#"
suffix = "stg.example.org"
config = {"endpoints": {"fas.fas01": ["tcp://fas01.%s:30%02d" % (suffix, i) for i in range(3)]}}
"#,
    ),
    (
        "dictionaries made of lists",
        r#"
config = dict(
    certnames=dict(
        [("bodhi.app0%i" % i, "bodhi-app0%i.example.org" % i) for i in range(1, 3)]
        + [("fas.fas01", "fas-fas01.example.org")]
    ),
)
"#,
    ),
    (
        "keyword arguments",
        "config = dict(environment='prod', high_water_mark=0, io_threads=1, timeout=2.5, active=True)",
    ),
    (
        "the host's name",
        r#"
import socket
hostname = socket.gethostname().split('.')[0]
config = dict(endpoints={"shell.%s" % hostname: "tcp://127.0.0.1:3000"})
config["certnames"] = {"shell." + hostname: "shell-" + hostname}
"#,
    ),
    (
        "the environment",
        r#"
import os
config = {"topic_prefix": os.environ.get("SITE", "org.example"), "status_directory": os.environ["HOME"]}
"#,
    ),
    (
        "the process's number",
        "import os\nconfig = {'ours': os.getpid() > 0, 'name': 'relay.%d' % (os.getpid() * 0)}",
    ),
    (
        "imports that may fail",
        r#"
try:
    import no_such_module
    environment = no_such_module.environment
except ImportError:
    environment = "dev"
config = dict(environment=environment)
"#,
    ),
    (
        "imports of the site's own",
        "import site_hosts\nfrom site_hosts import hosts\nconfig = dict(endpoints={h: site_hosts.at(h) for h in hosts})",
    ),
    (
        "keys set after the literal",
        r#"
config = {"endpoints": {}}
for i, service in enumerate(("fas", "bodhi")):
    config["endpoints"][service + ".h"] = ["tcp://h:%d" % (3000 + i)]
config["endpoints"].update({"wiki.h": "tcp://h:4000"})
config["relay_inbound"] = "tcp://127.0.0.1:2003"
del i, service
"#,
    ),
    (
        "several relays",
        "config = {'relay_inbound': ['tcp://127.0.0.1:2003', 'tcp://127.0.0.1:2004']}",
    ),
    (
        "functions and objects",
        r#"
def shorten(url):
    return url[:20]

class Store(object):
    pass

config = {
    "irc": [dict(network="irc.example.org", port=6667, make_short=shorten,
                 filters=dict(topic=["koji"], body=[]))],
    "persistent_store": Store(),
}
"#,
    ),
    (
        "logging and plugins",
        r#"
bare_format = "[%(asctime)s][%(name)10s %(levelname)7s] %(message)s"
config = {
    "logging": dict(
        version=1,
        formatters=dict(bare={"datefmt": "%Y-%m-%d %H:%M:%S", "format": bare_format}),
        handlers=dict(console={"class": "logging.StreamHandler", "formatter": "bare",
                               "level": "DEBUG", "stream": "ext://sys.stdout"}),
        loggers=dict(fedmsg={"level": "DEBUG", "propagate": False, "handlers": ["console"]}),
    ),
    "fedmsg.consumers.gateway.port": 9941,
    "fedmsg.consumers.badges.enabled": True,
    "zmq_tcp_keepalive": 1,
    "unicode": u"b\u00fcro \U0001f600 \u2028",
    "numbers": [0, -1, 2 ** 63 - 1, -2 ** 63, 1e16, 1e-7, 0.1, 5e-324],
}
"#,
    ),
];

#[test]
fn every_shape_of_a_sites_files_gives_the_peers_configuration() {
    let site = Site::new(&[(
        "modules/site_hosts.py",
        "hosts = ['a', 'b']\nat = 'tcp://{}:1'.format",
    )]);
    let files: Vec<_> = (0..SHAPES.len())
        .map(|number| site.path(&format!("{number}.py")))
        .collect();
    for ((_, text), file) in SHAPES.iter().zip(&files) {
        fs::write(file, text).unwrap();
    }
    let requests = files
        .iter()
        .map(|file| json!({"load_config": {"filenames": [file], "disable_defaults": true}}));
    let theirs = site.ask_the_peer(requests.collect());
    for (((name, _), file), theirs) in SHAPES.iter().zip(&files).zip(theirs) {
        let file = file.to_str().unwrap();
        let ours = site.fedmsg_config(&["--disable-defaults", "--config-filename", file]);
        assert_eq!(without_left_out(theirs), parse(&ours.stdout), "{name}");
    }
}

#[test]
fn a_site_of_many_files_gives_the_peers_configuration() {
    let site = Site::whole();
    let requests = vec![
        json!({"load_config": {"disable_defaults": true}}),
        json!({"load_config": {}}),
    ];
    let mut theirs = site
        .ask_the_peer(requests)
        .into_iter()
        .map(without_left_out);
    let ours = parse(&site.fedmsg_config(&["--disable-defaults"]).stdout);
    assert_eq!(ours["environment"], "last");
    assert_eq!(theirs.next(), Some(ours));

    // With defaults ours has every key that the peer has, but for an option of its commands.
    let ours = parse(&site.fedmsg_config(&[]).stdout);
    let theirs = theirs.next().unwrap();
    for (key, value) in theirs.as_object().unwrap() {
        if key != "print_config" {
            assert_eq!(&ours[key], value, "{key}");
        }
    }
}

#[test]
fn what_the_command_prints_is_what_the_peers_prints() {
    const QUERIES: [&str; 14] = [
        "environment",
        "endpoints.fas_h",
        "crypto_validate_backends",
        "routing_policy",
        "timeout",
        "active",
        "numbers",
        "mixed",
        "unicode",
        "empty",
        "none",
        "nothing",
        "endpoints.nothing",
        "environment.deeper",
    ];
    let site = Site::whole();
    let requests = QUERIES.map(|query| json!({"fedmsg-config": ["--query", query]}));
    let theirs = site.ask_the_peer(requests.into());
    for (query, theirs) in QUERIES.into_iter().zip(theirs) {
        let ours = site.fedmsg_config(&["--query", query]);
        let ours = json!([ours.status.code(), text(ours.stdout), text(ours.stderr)]);
        assert_eq!(ours, theirs, "{query}");
    }
}

#[test]
fn the_defaults_are_the_peers() {
    // Some setting keeps it from looking for files.
    let theirs = Site::new(&[]).ask_the_peer(vec![json!({"conf": {"ours": 1}})]);
    let ours = Config::default();
    for (key, value) in theirs[0].as_object().unwrap() {
        // STOMP is another transport, and the others are no defaults.
        if !key.starts_with("stomp_") && key != "print_config" && key != "ours" {
            assert_eq!(ours.get(key), Some(value), "{key}");
        }
    }
}

#[test]
fn what_the_peer_takes_is_taken_and_what_it_refuses_is_refused() {
    let cases = [
        ("environment", json!(5), false),
        ("environment", json!(["prod"]), false),
        ("active", json!("True"), true),
        ("active", json!(" false "), true),
        ("active", json!("yes"), false),
        ("active", json!(1), false),
        ("active", json!("1"), false),
        ("zmq_linger", json!("500"), true),
        ("zmq_linger", json!(" 500 "), true),
        ("zmq_linger", json!(500.0), true),
        ("zmq_linger", json!(true), true),
        ("zmq_linger", json!(-1), false),
        ("zmq_linger", json!("-1"), false),
        ("zmq_linger", json!("soon"), false),
        ("zmq_linger", json!(null), false),
        ("post_init_sleep", json!(0), true),
        ("post_init_sleep", json!("0.25"), true),
        ("post_init_sleep", json!("1e-1"), true),
        ("post_init_sleep", json!(-0.5), false),
        ("post_init_sleep", json!("soon"), false),
        ("crypto_validate_backends", json!(["x509", "gpg"]), true),
        ("crypto_validate_backends", json!("x509"), false),
        ("certnames", json!({"a.h": "a-h"}), true),
        ("certnames", json!(["a"]), false),
        ("irc", json!([{"port": 1}]), true),
        ("irc", json!({"port": 1}), false),
        ("logging", json!("x"), false),
        ("ssldir", json!(5), false),
    ];
    let requests = cases
        .iter()
        .map(|(key, value, _)| json!({"conf": {*key: value}}));
    let theirs = Site::new(&[]).ask_the_peer(requests.collect());
    for ((key, value, is_taken), theirs) in cases.iter().zip(theirs) {
        let what = format!("{key} = {value}");
        assert_eq!(!theirs.is_null(), *is_taken, "the peer: {what}");
        let ours = Config::from_values([((*key).to_owned(), value.clone())].into_iter().collect());
        assert_eq!(ours.is_ok(), *is_taken, "{what}: {ours:?}");
        if let Ok(ours) = ours {
            let [ours, theirs] = [ours.get(key).unwrap(), &theirs[key]];
            let same = ours == theirs
                || ours
                    .as_f64()
                    .is_some_and(|ours| theirs.as_f64() == Some(ours));
            assert!(same, "{what}: {ours} and {theirs}");
        }
    }
}

#[test]
fn log_lines_are_pythons_and_their_time_is_local() {
    // This zone is in no data base; a process takes it up only when it starts.
    const ZONE: &str = "NPT-5:45";
    if env::var_os("TZ").is_none_or(|zone| zone != ZONE) {
        let name = "log_lines_are_pythons_and_their_time_is_local";
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("TZ", ZONE)
            .output()
            .unwrap();
        let told = text([output.stdout, output.stderr].concat());
        return assert!(told.contains("1 passed"), "{told}");
    }
    let formats = [
        (
            "[%(asctime)s][%(name)10s %(levelname)7s] %(message)s",
            json!("%Y-%m-%d %H:%M:%S"),
        ),
        ("%(asctime)s %(message)s", json!(null)),
        ("%(levelname)-10s|%(name)-20s|%(message)s", json!(null)),
        (
            "100%% %(message)s %(asctime)25s",
            json!("%d/%b/%y %j %I:%M %p"),
        ),
    ];
    let records = [
        ("fedmsg.commands", Level::Info, 20),
        ("fedmsg", Level::Warn, 30),
        ("x", Level::Error, 40),
        ("moksha.hub", Level::Debug, 10),
    ];
    let script = r#"
import json, logging, sys
for format, datefmt in json.loads(sys.argv[1]):
    for name, level in json.loads(sys.argv[2]):
        record = logging.LogRecord(name, level, "", 0, "h\u00e9llo", (), None)
        record.created, record.msecs = 1795590605.25, 250.0
        print(logging.Formatter(format, datefmt).format(record))
"#;
    let output = Command::new("python3")
        .args([
            "-c",
            script,
            &json!(formats).to_string(),
            &json!(records.map(|(name, _, number)| (name, number))).to_string(),
        ])
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .expect("this test needs python3");
    let theirs = text(output.stdout);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_590_605_250);
    let mut ours = String::new();
    for (format, datefmt) in formats {
        let config = json!({
            "formatters": {"f": {"format": format, "datefmt": datefmt}},
            "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
            "loggers": {"fedmsg": {"level": "DEBUG", "handlers": ["h"]}},
        });
        let config = Config::from_values([("logging".to_owned(), config)].into_iter().collect());
        let logging = Logging::from_config(&config.unwrap()).unwrap();
        for (name, level, _) in records {
            ours += &logging.format(name, level, "h\u{e9}llo", now);
            ours += "\n";
        }
    }
    assert_eq!(ours, theirs);
}

/// A home directory with a working directory in it.
struct Site {
    dir: TempDir,
    python: PathBuf,
}

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/py/fedmsg-requirements.txt");
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            python: environment("fedmsg-1.1.7", &["-r", requirements]),
        };
        site.write("work/README", "");
        for (name, text) in files {
            site.write(name, text);
        }
        site
    }

    /// A file in every place where the peer looks, but for those of the machine.
    fn whole() -> Self {
        Self::new(&[
            (
                ".fedmsg.d/base.py",
                "config = dict(environment='home', topic_prefix='org.example', timeout=3,\n\
                 endpoints={'fas_h': 'tcp://h:1', 'bodhi_h': ['tcp://h:2', 'tcp://h:3']},\n\
                 routing_policy={'org.example.a': ['x', 'y'], 'b': []}, plugin={'a': {'x': 1}})",
            ),
            (
                ".fedmsg.d/later.py",
                "config = {'endpoints': {'fas_h': ['tcp://h:4'], 'wiki_h': 'tcp://h:5'}, 'active': True,\n\
                 'plugin': {'a': {'y': 2}, 'b': [1]}, 'crypto_validate_backends': ['x509', 'gpg']}",
            ),
            (
                "work/fedmsg.d/ssl.py",
                "config = dict(environment='work', plugin={'a': {'x': 3}, 'b': 5}, none=None, empty={},\n\
                 numbers=[1, -2, 2.5, 1e16, 1e-7], unicode='b\\u00fcro \\U0001f600',\n\
                 mixed=['text', 1, None, True, ['it\\'s', 'a \"b\" \\'c\\'', 'x\\n\\\\'], {'k': 1.0}],\n\
                 irc=[{'make_short': lambda url: url, 'port': 6667}])",
            ),
            (
                "venv/etc/fedmsg.d/z.py",
                "config = dict(environment='venv', zmq_linger=5)",
            ),
            (
                ".fedmsg-config.py",
                "config = dict(environment='home file', io_threads=2)",
            ),
            ("work/fedmsg-config.py", "config = dict(environment='last')"),
        ])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path("work"))
            .env_remove("FEDMSG_CONFIG")
            .env("HOME", self.dir.path())
            .env("VIRTUAL_ENV", self.path("venv"))
            .env("PYTHONPATH", self.path("modules"));
        command
    }

    fn fedmsg_config(&self, args: &[&str]) -> Output {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_under_test")));
        command.arg("config").args(args).output().unwrap()
    }

    /// As `py/load_config.py` says.
    fn ask_the_peer(&self, requests: Vec<Value>) -> Vec<Value> {
        let output = self
            .command(&self.python)
            .args(["-c", include_str!("../py/load_config.py")])
            .arg(Value::from(requests).to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn parse(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn without_left_out(value: Value) -> Value {
    let is_left_out = |value: &Value| *value == json!({"left out": true});
    match value {
        Value::Array(list) => {
            let kept = list.into_iter().filter(|value| !is_left_out(value));
            kept.map(without_left_out).collect()
        }
        Value::Object(dict) => {
            let kept = dict.into_iter().filter(|(_, value)| !is_left_out(value));
            let kept: Map<_, _> = kept
                .map(|(key, value)| (key, without_left_out(value)))
                .collect();
            kept.into()
        }
        other => other,
    }
}
