//! A site's configuration: files, merging, what is wrong with them, and `fedmsg config`.
//!
//! Python files need `python3`.

#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests' helpers too"
)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use fedmsg::config::{self, Config, Error, Loader, MAX_FILE, Origin, Warning};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// A directory with these files.
fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

fn loader(dir: &TempDir, files: &[&str]) -> Loader {
    Loader {
        files: files.iter().map(|name| dir.path().join(name)).collect(),
        ..Loader::default()
    }
}

/// The error of a directory's one file, without the directory's name.
fn error_of(name: &str, text: &str) -> String {
    let dir = dir(&[(name, text)]);
    let error = loader(&dir, &[name]).load().unwrap_err();
    let prefix = format!("{}/", dir.path().display());
    error.to_string().replace(&prefix, "")
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

#[test]
fn dictionaries_of_several_files_are_merged_key_by_key_and_the_last_file_wins() {
    let dir = dir(&[
        (
            "a.py",
            "config = dict(environment='stg', endpoints={'a.h': 'tcp://h:1', 'b.h': ['tcp://h:2']},\n\
             plugin={'deep': {'kept': 1, 'changed': 1}, 'list': [1, 2]})",
        ),
        (
            "b.toml",
            "environment = 'prod'\nendpoints.'b.h' = 'tcp://h:3'\nendpoints.'c.h' = []\n\
             [plugin]\nlist = [3]\ndeep.changed = 2\n",
        ),
    ]);
    let [a, b] = ["a.py", "b.toml"].map(|name| Origin::File(dir.path().join(name)));
    let mut loader = loader(&dir, &["a.py", "b.toml"]);
    loader.overrides = object(json!({"plugin": {"deep": {"new": 3}}, "timeout": "7"}));
    let config = loader.load().unwrap();

    assert_eq!(config.get("environment"), Some(&json!("prod")));
    assert_eq!(
        config.get("endpoints"),
        Some(&json!({"a.h": ["tcp://h:1"], "b.h": ["tcp://h:3"], "c.h": []})),
        "and none of the defaults"
    );
    assert_eq!(
        config.get("plugin"),
        Some(&json!({"deep": {"kept": 1, "changed": 2, "new": 3}, "list": [3]}))
    );
    assert_eq!(config.get("timeout"), Some(&json!(7.0)));
    assert_eq!(config.get("zmq_linger"), Some(&json!(1000)));

    assert_eq!(config.origin("environment"), Some(&b));
    assert_eq!(config.origin("timeout"), Some(&Origin::CommandLine));
    assert_eq!(config.origin("zmq_linger"), Some(&Origin::Default));
    assert_eq!(config.origin("nothing"), None);
    let origins: Vec<_> = config.origins().collect();
    for (place, origin) in [
        (vec!["endpoints", "a.h"], &a),
        (vec!["endpoints", "b.h"], &b),
        (vec!["plugin", "deep", "kept"], &a),
        (vec!["plugin", "deep", "changed"], &b),
        (vec!["plugin", "deep", "new"], &Origin::CommandLine),
    ] {
        assert!(origins.contains(&(place.clone(), origin)), "{place:?}");
    }
}

#[test]
fn none_of_a_file_is_as_not_set_at_all() {
    let dir = dir(&[
        ("a.toml", "relay_inbound = 'tcp://h:1'\ncert_prefix = 'x'\n"),
        (
            "b.py",
            "config = dict(relay_inbound=None, cert_prefix=None, ours=None)",
        ),
    ]);
    let mut loader = loader(&dir, &["a.toml", "b.py"]);
    let config = loader.load().unwrap();
    assert_eq!(
        config.get("relay_inbound"),
        Some(&json!("tcp://127.0.0.1:2001"))
    );
    assert_eq!(config.origin("relay_inbound"), Some(&Origin::Default));
    assert_eq!(config.get("cert_prefix"), None);
    assert_eq!(config.get("ours"), Some(&Value::Null));

    loader.defaults = false;
    let expected = json!({"relay_inbound": null, "cert_prefix": null, "ours": null});
    assert_eq!(loader.load().unwrap().values(), &object(expected));
}

#[test]
fn every_key_of_a_wrong_type_is_named_with_its_file() {
    let dir = dir(&[
        ("a.toml", "endpoints.a = 'tcp://h:1'\nenvironment = 5\n"),
        (
            "b.py",
            "config = dict(endpoints={'b': ['tcp://h:1', 5]}, active='maybe')",
        ),
    ]);
    let mut loader = loader(&dir, &["a.toml", "b.py"]);
    loader.overrides = object(json!({"fedmsg.consumers.gateway.port": 65536}));
    let (_, errors) = loader.check();
    let prefix = format!("{}/", dir.path().display());
    let errors: Vec<_> = errors
        .iter()
        .map(|error| error.to_string().replace(&prefix, ""))
        .collect();
    assert_eq!(
        errors,
        [
            "a.toml: environment is the number 5, not text",
            "b.py: endpoints.b[1] is the number 5, not text",
            "b.py: active is the text \"maybe\", not true or false",
            "command line: fedmsg.consumers.gateway.port is the number 65536, not a port number",
        ]
    );
}

#[test]
fn values_of_a_program_are_checked_too() {
    let config = Config::from_values(object(json!({"environment": "prod", "active": "TRUE"})));
    let config = config.unwrap();
    assert_eq!(config.get("active"), Some(&json!(true)));
    assert_eq!(config.origin("active"), Some(&Origin::Program));
    assert_eq!(config.get("timeout"), Some(&json!(2)));
    assert_eq!(
        config.get("topic_prefix_re"),
        Some(&json!(r"com\.example\.[^\W\d_]+"))
    );

    #[derive(serde::Deserialize)]
    struct Wanted {
        #[serde(rename = "fedmsg.consumers.gateway.port")]
        port: u16,
        timeout: f64,
        crl_location: Option<PathBuf>,
    }
    let wanted: Wanted = config.read().unwrap();
    assert_eq!((wanted.port, wanted.timeout), (9940, 2.0));
    assert_eq!(wanted.crl_location, None);

    let error = Config::from_values(object(json!({"zmq_linger": -1}))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "program: zmq_linger is the number -1, not a whole number from 0 to 4294967295"
    );
}

#[test]
fn the_processs_configuration_is_one_until_it_is_replaced() {
    let first = config::set_current(Config::default());
    assert!(Arc::ptr_eq(&first, &config::current().unwrap()));
    let second = config::set_current(Config::default());
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &config::current().unwrap()));
}

#[test]
fn a_misspelt_key_is_a_warning_and_other_unknown_keys_are_kept() {
    let dir = dir(&[(
        "a.toml",
        "environmet = 'prod'\nvalidate_signature = true\nrelay_outbound = 'x'\nkoji = 'y'\n\
         stomp_uri = 'z'\n'fedmsg.consumers.badges.enabled' = true\n",
    )]);
    let config = loader(&dir, &["a.toml"]).load().unwrap();
    let file = dir.path().join("a.toml");
    let misspelt = |key: &str, known| Warning::Misspelt {
        key: key.to_owned(),
        origin: Origin::File(file.clone()),
        known,
    };
    assert_eq!(
        config.warnings(),
        [
            misspelt("environmet", "environment"),
            misspelt("validate_signature", "validate_signatures"),
        ]
    );
    assert_eq!(config.get("koji"), Some(&json!("y")));
    assert_eq!(config.get("environmet"), Some(&json!("prod")));
}

#[test]
fn broken_toml_is_an_error_with_line_and_column() {
    for (text, error) in [
        ("a = 1\nb = = 2\n", "a.toml:2:5: "),
        ("a = 'ü' 'x'\n", "a.toml:1:9: "),
        ("a = 1\na = 2\n", "a.toml:2:1: duplicate key"),
        (
            "[x]\ny = [1, 1979-05-27]\n",
            "a.toml: x.y[1]: a date or time cannot be used: write text or a finite number",
        ),
        (
            "x = nan\n",
            "a.toml: x: a number that is not finite cannot be used",
        ),
    ] {
        let found = error_of("a.toml", text);
        assert!(found.starts_with(error), "{text}: {found}");
        assert!(!found.contains('\n'));
    }
    let dir = dir(&[]);
    fs::write(dir.path().join("a.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    let error = loader(&dir, &["a.toml"]).load().unwrap_err().to_string();
    assert!(error.ends_with("a.toml:2:6: not UTF-8"), "{error}");
}

#[test]
fn a_known_key_with_dots_needs_no_quotes_in_toml() {
    let dir = dir(&[(
        "a.toml",
        "fedmsg.consumers.gateway.port = 1\nfedmsg.other = 2\n[moksha.monitoring]\nsocket = 'tcp://h:1'\n",
    )]);
    let mut loader = loader(&dir, &["a.toml"]);
    loader.defaults = false;
    assert_eq!(
        loader.load().unwrap().values(),
        &object(json!({
            "fedmsg": {"other": 2},
            "fedmsg.consumers.gateway.port": 1,
            "moksha.monitoring.socket": "tcp://h:1",
        }))
    );
}

#[test]
fn a_python_file_that_fails_is_an_error_with_its_line() {
    for (text, error) in [
        (
            "x = 1\nconfig = dict(\n",
            "a.py:2: SyntaxError: '(' was never closed",
        ),
        (
            "\nconfig = {\n'a': nothing}",
            "a.py:3: NameError: name 'nothing' is not defined",
        ),
        (
            "def f():\n  return 1 / 0\n\nconfig = f()",
            "a.py:2: ZeroDivisionError: division by zero",
        ),
        (
            "import json\nconfig = json.loads('{')",
            "a.py:2: JSONDecodeError: ",
        ),
        ("raise ValueError('a\\nb')", "a.py:1: ValueError: a b"),
        ("raise KeyError", "a.py:1: KeyError"),
        ("import sys\nsys.exit(0)", "a.py:2: SystemExit: 0"),
        (
            "import os\nos._exit(3)",
            "a.py: it ended the interpreter (exit status: 3)",
        ),
        ("conf = {}", "a.py: it sets no variable `config`"),
        ("config = ['a']", "a.py: `config` is a list, not a dict"),
        ("config = {}\nconfig['me'] = config", "a.py: me.me.me.me."),
        (
            "config = {}\nc = config\nfor i in range(100): c['a'] = [{}]; c = c['a'][0]",
            "a.py: a[0].a[0].a[0].",
        ),
        (
            "class Own(dict):\n  def items(self): return 1 / 0\nconfig = Own(a=1)",
            "a.py:2: ZeroDivisionError: ",
        ),
    ] {
        let found = error_of("a.py", text);
        assert!(found.starts_with(error), "{text}: {found}");
        assert!(!found.contains('\n'));
    }
}

#[test]
fn an_endless_python_file_is_ended_and_named_and_no_later_one_is_run() {
    let dir = dir(&[("a.py", "config = {'a': 1}")]);
    let path = |name: &str| dir.path().join(name);
    let endless = format!(
        "import os, time\nopen({:?}, 'w').write(str(os.getpid()))\nwhile True: time.sleep(1)",
        path("pid")
    );
    fs::write(path("b.py"), endless).unwrap();
    fs::write(
        path("c.py"),
        format!("open({:?}, 'w')\nconfig = {{}}", path("ran")),
    )
    .unwrap();
    let mut loader = loader(&dir, &["a.py", "b.py", "c.py"]);
    loader.python_limit = Duration::from_secs(2);
    let started = Instant::now();
    let (config, errors) = loader.check();
    assert!(started.elapsed() >= loader.python_limit);
    assert_eq!(config.get("a"), Some(&json!(1)));
    assert!(
        matches!(&errors[..], [Error::PythonTime { file, .. }] if file.ends_with("b.py")),
        "{errors:?}"
    );
    assert!(!path("ran").exists());
    // Nothing of it is left, not even an entry in the list of processes.
    let process = fs::read_to_string(path("pid")).expect("it began within the limit");
    assert!(!Path::new("/proc").join(process).exists());
}

#[test]
fn each_python_file_has_a_namespace_and_an_error_of_its_own() {
    let dir = dir(&[
        ("a.py", "x = 1\nconfig = {'a': x}"),
        ("b.py", "config = {'b': x}"),
        ("c.py", "config = {'c': 'x' in globals()}"),
    ]);
    let (config, errors) = loader(&dir, &["a.py", "b.py", "c.py"]).check();
    assert_eq!(config.get("a"), Some(&json!(1)));
    assert_eq!(config.get("c"), Some(&json!(false)));
    assert!(
        matches!(&errors[..], [Error::Python { file, line: Some(1), .. }] if file.ends_with("b.py")),
        "{errors:?}"
    );
}

#[test]
fn python_values_that_json_cannot_hold_are_named_and_left_out() {
    let dir = dir(&[(
        "a.py",
        "import collections, datetime, enum
class Number(enum.IntEnum):
    ONE = 1
class Text(str, enum.Enum):
    WORD = 'word'
    def __repr__(self): return 1 / 0
config = collections.OrderedDict(
    function=lambda: 1, data=b'x', when=datetime.date(2026, 1, 1), lone='\\ud800',
    infinite=float('inf'), huge=1 << 64, largest=(1 << 64) - 1, smallest=-1 << 63,
    keys={1: 'x', None: 'y', 'kept': 'z'}, listed=[1, print, {'inside': len, 'n': 2}],
    pair=(1, 2), unique={'x'}, one=Number.ONE, word=Text.WORD, none=None, flag=True, half=0.5)
",
    )]);
    let mut loader = loader(&dir, &["a.py"]);
    loader.defaults = false;
    let config = loader.load().unwrap();
    assert_eq!(
        config.values(),
        &object(json!({
            "largest": u64::MAX, "smallest": i64::MIN, "keys": {"kept": "z"},
            "listed": [1, {"n": 2}], "pair": [1, 2], "unique": ["x"], "one": 1, "word": "word", "none": null,
            "flag": true, "half": 0.5,
        }))
    );
    let left_out: Vec<_> = config
        .warnings()
        .iter()
        .map(|warning| match warning {
            Warning::LeftOut { key, what, file } if file.ends_with("a.py") => {
                format!("{key}: {what}")
            }
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        left_out,
        [
            "function: a Python function",
            "data: a Python bytes",
            "when: a Python date",
            "lone: text that is not Unicode",
            "infinite: a number that is not finite",
            "huge: an integer of more than 64 bits",
            "keys.1: under a key that is not text",
            "keys.None: under a key that is not text",
            "listed[1]: a Python builtin_function_or_method",
            "listed[2].inside: a Python builtin_function_or_method",
        ]
    );
}

#[test]
fn without_python_the_error_names_the_files_and_the_way_out() {
    let dir = dir(&[
        ("a.py", "config = {}"),
        ("b.toml", ""),
        ("c.py", "config = {}"),
    ]);
    let mut loader = loader(&dir, &["a.py", "b.toml", "c.py"]);
    loader.python = "/nowhere/python3".into();
    let (_, errors) = loader.check();
    assert_eq!(errors.len(), 1);
    let error = errors[0].to_string();
    let [a, c] = ["a.py", "c.py"].map(|name| dir.path().join(name).display().to_string());
    assert!(
        error.starts_with(&format!("/nowhere/python3 is needed for {a}, {c}: ")),
        "{error}"
    );
    assert!(error.contains("fedmsg config --to-toml"), "{error}");

    loader.files = vec![dir.path().join("b.toml")];
    loader
        .load()
        .expect("no Python is started without a Python file");
}

#[test]
fn an_unreadable_file_or_folder_is_named() {
    let dir = dir(&[
        ("loop/fedmsg.d/x", ""),
        ("huge.toml", &"a = 1\n".repeat(200_000)),
    ]);
    symlink("b.toml", dir.path().join("a.toml")).unwrap();
    symlink("a.toml", dir.path().join("b.toml")).unwrap();
    for (name, error) in [
        (
            "nothing.toml",
            "nothing.toml: No such file or directory (os error 2)",
        ),
        ("loop", "loop: not a file"),
        ("/dev/zero", "/dev/zero: not a file"),
        (
            "a.toml",
            "a.toml: Too many levels of symbolic links (os error 40)",
        ),
        ("huge.toml", "huge.toml: more than 1048576 bytes"),
    ] {
        let found = loader(&dir, &[name]).load().unwrap_err().to_string();
        assert!(found.ends_with(error), "{found}");
    }
    let python = dir.path().join("huge.py");
    fs::write(&python, vec![b'#'; MAX_FILE as usize + 1]).unwrap();
    let error = loader(&dir, &["huge.py"]).load().unwrap_err();
    assert!(matches!(error, Error::TooLarge { file, .. } if file == python));
}

#[test]
fn values_nested_too_deep_are_an_error() {
    let dots = ["a"; 40].join(".");
    for text in [
        format!("{dots} = 1"),
        format!("{} = 1", ["a"; 300_000].join(".")),
        format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}1{}", "{a=".repeat(100_000), "}".repeat(100_000)),
    ] {
        let error = error_of("a.toml", &text);
        assert!(error.starts_with("a.toml"), "{error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[test]
fn who_else_may_write_a_file_is_a_warning() {
    let dir = dir(&[
        ("own/a.toml", ""),
        ("open/b.toml", ""),
        ("sticky/c.toml", ""),
    ]);
    let path = |name: &str| dir.path().join(name);
    let mode = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("own/a.toml", 0o646);
    mode("open", 0o777);
    mode("sticky", 0o1777);
    let files = ["own/a.toml", "open/b.toml", "sticky/c.toml"];
    let config = loader(&dir, &files).load().unwrap();
    let writable = |name| Warning::Writable { path: path(name) };
    assert_eq!(
        config.warnings(),
        [writable("own/a.toml"), writable("open")]
    );
}

#[test]
fn a_home_directory_in_a_path_is_written_out() {
    let home = std::env::home_dir().expect("this test needs a home directory");
    let config = Config::from_values(object(json!({"ssldir": "~/keys", "cert_prefix": "~/x"})));
    let config = config.unwrap();
    let path = |key| config.get(key).unwrap().as_str().unwrap();
    assert_eq!(Path::new(path("ssldir")), home.join("keys"));
    assert_eq!(Path::new(path("gpg_home")), home.join(".gnupg"));
    assert_eq!(path("cert_prefix"), "~/x", "it is no path");
}

/// `fedmsg config` in a directory, with that as its home: exit code, stdout, stderr.
fn fedmsg_config(dir: &Path, environment: &[(&str, &str)], args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fedmsg"))
        .arg("config")
        .args(args)
        .current_dir(dir.join("work"))
        .env_remove("VIRTUAL_ENV")
        .env("FEDMSG_CONFIG", dir.join("etc"))
        .env("HOME", dir.join("home"))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code().expect("not killed by a signal"),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A file in each place, which says who it is.
fn places() -> TempDir {
    let files = [
        "etc/a.py",
        "etc/b.toml",
        "home/.fedmsg.d/a.toml",
        "work/fedmsg.d/a.py",
        "venv/etc/fedmsg.d/a.py",
        "home/.fedmsg-config.py",
        "work/fedmsg-config.py",
    ];
    let texts = files.map(|file| match file.ends_with("py") {
        true => format!("config = dict(who='{file}')\n"),
        false => format!("who = '{file}'\n"),
    });
    let files: Vec<_> = files
        .into_iter()
        .zip(texts.iter().map(String::as_str))
        .collect();
    let dir = dir(&files);
    fs::write(dir.path().join("etc/c.json"), "not read").unwrap();
    fs::write(dir.path().join("one.toml"), "one = 1").unwrap();
    dir
}

#[test]
fn every_usual_place_is_read_in_order() {
    let dir = places();
    let venv = dir.path().join("venv");
    let environment = [("VIRTUAL_ENV", venv.to_str().unwrap())];
    // The last file wins; without it, the one before it does.
    let mut order = Vec::new();
    loop {
        let (code, out, err) = fedmsg_config(dir.path(), &environment, &["--disable-defaults"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let shown: Value = serde_json::from_str(&out).unwrap();
        let Some(who) = shown.get("who").and_then(Value::as_str) else {
            break;
        };
        fs::remove_file(dir.path().join(who)).unwrap();
        order.insert(0, who.to_owned());
    }
    assert_eq!(
        order,
        [
            "etc/a.py",
            "etc/b.toml",
            "home/.fedmsg.d/a.toml",
            "work/fedmsg.d/a.py",
            "venv/etc/fedmsg.d/a.py",
            "home/.fedmsg-config.py",
            "work/fedmsg-config.py",
        ]
    );
}

#[test]
fn a_file_that_is_named_takes_the_place_of_others() {
    let dir = places();
    let one = dir.path().join("one.toml");
    let one = one.to_str().unwrap();
    let (_, out, _) = fedmsg_config(
        dir.path(),
        &[("FEDMSG_CONFIG", one)],
        &["--disable-defaults", "--origin"],
    );
    let work = dir.path().join("work/fedmsg-config.py");
    assert_eq!(out, format!("one: {one}\nwho: {}\n", work.display()));
    let args = ["--disable-defaults", "--config-filename", one];
    let (_, out, _) = fedmsg_config(dir.path(), &[], &args);
    assert_eq!(out, "{\n  \"one\": 1\n}\n");

    let nothing = [("FEDMSG_CONFIG", "/nowhere/fedmsg.d")];
    let (code, out, err) = fedmsg_config(dir.path(), &nothing, &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "fedmsg config: FEDMSG_CONFIG names /nowhere/fedmsg.d, which is not there: name a file or a \
         folder, or unset it\n"
    );
}

#[test]
fn the_command_shows_keys_as_the_peers_does() {
    let dir = dir(&[(
        "work/fedmsg.d/a.py",
        "print('not in the answer')\n\
         config = dict(endpoints={'b.h': 'tcp://h:1'}, text='a b', none=None, flag=True, half=.5,\n\
         mixed=[\"it's\", 1, None, True, {'a': ['b', 2.0, 'x\\n']}], empty={}, name='ü\u{1f600}')",
    )]);
    for place in ["etc", "home"] {
        fs::create_dir(dir.path().join(place)).unwrap();
    }
    for (key, answer) in [
        ("text", "a b\n"),
        ("endpoints.b.h", "tcp://h:1\n"),
        ("endpoints", "{\n  \"b.h\": [\n    \"tcp://h:1\"\n  ]\n}\n"),
        ("flag", "true\n"),
        ("half", "0.5\n"),
        ("timeout", "2\n"),
        ("mixed", "it's\n1\nNone\nTrue\n{'a': ['b', 2.0, 'x\\n']}\n"),
        ("empty", "{}\n"),
        ("name", "ü\u{1f600}\n"),
        ("fedmsg.consumers.gateway.port", "9940\n"),
    ] {
        let (code, out, err) = fedmsg_config(dir.path(), &[], &["--query", key]);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (0, answer, "not in the answer\n"),
            "{key}"
        );
    }
    for key in ["none", "nothing", "text.deeper", "endpoints.c"] {
        let (code, out, err) = fedmsg_config(dir.path(), &[], &["--query", key]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert_eq!(
            err,
            format!("not in the answer\nKey `{key}` does not exist in config\n")
        );
    }
    let (_, out, _) = fedmsg_config(dir.path(), &[], &["--disable-defaults"]);
    assert!(out.contains("  \"empty\": {},\n"), "{out}");
    assert!(
        out.contains("  \"name\": \"\\u00fc\\ud83d\\ude00\",\n"),
        "{out}"
    );

    let file = dir.path().join("work/fedmsg.d/a.py");
    let (_, out, _) = fedmsg_config(dir.path(), &[], &["--origin", "--query", "endpoints"]);
    assert_eq!(out, format!("endpoints.b.h: {}\n", file.display()));
    let (_, out, _) = fedmsg_config(dir.path(), &[], &["--origin"]);
    assert!(out.contains("\ntimeout: default\n"), "{out}");
}

#[test]
fn the_command_checks_everything_at_once() {
    let dir = places();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("etc/b.toml", "validate_signatures = false");
    let (code, out, err) = fedmsg_config(dir.path(), &[], &["--check"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));

    let nothing = TempDir::new().unwrap();
    for place in ["etc", "home", "work"] {
        fs::create_dir(nothing.path().join(place)).unwrap();
    }
    let (code, out, err) = fedmsg_config(nothing.path(), &[], &["--check"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("warning: no file says anything: "), "{out}");

    for (text, expected) in [
        (
            "relay_inbound = 'tcp://127.0.0.1'",
            "error: endpoints of 'relay_inbound': endpoint 'tcp://127.0.0.1': the port is missing",
        ),
        (
            "ca_cert_location = 'nowhere/ca.crt'",
            "warning: no message could be validated: cannot read nowhere/ca.crt: ",
        ),
        (
            "crypto_validate_backends = ['rsa']",
            "warning: no message could be validated: crypto_validate_backends: there is no backend",
        ),
    ] {
        write("etc/b.toml", text);
        let (code, out, err) = fedmsg_config(dir.path(), &[], &["--check"]);
        assert_eq!(
            (code == 1, err.as_str()),
            (expected.starts_with("error"), "")
        );
        assert!(out.starts_with(expected), "{out}");
    }

    write("etc/b.toml", "timeout = 'soon'\nenvironmet = 'x'\n");
    write("work/fedmsg.d/a.py", "config = 1 / 0");
    let (code, out, err) = fedmsg_config(dir.path(), &[], &["--check"]);
    let at = dir.path().display();
    assert_eq!((code, err.as_str()), (1, ""));
    assert_eq!(
        out,
        format!(
            "error: {at}/work/fedmsg.d/a.py:1: ZeroDivisionError: division by zero\n\
             error: {at}/etc/b.toml: timeout is the text \"soon\", not a number of seconds from 0 \
             to 4294967295\n\
             warning: {at}/etc/b.toml: environmet is not known: is it environment?\n"
        )
    );

    write("work/fedmsg.d/a.py", "config = {}");
    write("etc/b.toml", "logging.loggers.fedmsg.level = 'LOUD'\n");
    let (code, out, _) = fedmsg_config(dir.path(), &[], &["--check"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("logging.loggers.fedmsg.level is the text \"LOUD\""),
        "{out}"
    );
}

#[test]
fn the_toml_file_of_a_site_says_what_its_files_say() {
    let dir = dir(&[
        (
            "a.py",
            "config = {'endpoints': {'b.h': 'tcp://h:1', 'c.h': ['tcp://h:2', 'tcp://h:3']},\n\
             'irc': [{'make_short': len, 'port': 6667, 'none': None}], 'x': None, 'huge': 2 ** 63,\n\
             'fedmsg.consumers.gateway.port': 1, 'topic_prefix': 'org.example', 'half': .5,\n\
             'nl': 'a\\nb\"', 'ü': 'é', 'empty': {}, 'none': [], 'odd\\n[x]': 5}",
        ),
        ("b.toml", "endpoints.'b.h' = 'tcp://h:4'\n"),
    ]);
    let mut loader = loader(&dir, &["a.py", "b.toml"]);
    loader.defaults = false;
    let config = loader.load().unwrap();
    let toml = config.to_toml();
    let at = dir.path().display();
    let comments: Vec<_> = toml.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        comments,
        [
            format!("# From {at}/a.py"),
            format!("# From {at}/b.toml"),
            format!(
                "# {at}/a.py: irc[0].make_short is a Python builtin_function_or_method: it was left out"
            ),
            "# huge: TOML has no such value: it was left out".to_owned(),
            "# irc[0].none: TOML has no such value: it was left out".to_owned(),
            "# x: TOML has no such value: it was left out".to_owned(),
        ]
    );

    fs::write(dir.path().join("c.toml"), toml).unwrap();
    loader.files = vec![dir.path().join("c.toml")];
    let mut expected = config.values().clone();
    for lost in ["x", "huge"] {
        expected.remove(lost).unwrap();
    }
    expected["irc"] = json!([{"port": 6667}]);
    assert_eq!(loader.load().unwrap().values(), &expected);
}

#[cfg(feature = "srv")]
#[test]
fn endpoints_come_from_srv_records_too() {
    let server = NameServer::start();
    let dir = dir(&[(
        "a.py",
        "config = dict(endpoints={'a.h': 'tcp://h:1'},\n\
         srv_endpoints=['two.test', 'nothing.test', 'empty.test', 'closed.test', 'silent.test'])",
    )]);
    let mut loader = loader(&dir, &["a.py"]);
    loader.name_server = Some(server.address);
    loader.srv_limit = Duration::from_secs(1);
    let config = loader.load().unwrap();
    assert_eq!(
        config.get("endpoints"),
        Some(&json!({
            "a.h": ["tcp://h:1"],
            "two.test": ["tcp://first.test.:2", "tcp://a.test.:1", "tcp://b.test.:1"],
        }))
    );
    let origins: Vec<_> = config.origins().collect();
    assert!(origins.contains(&(vec!["endpoints", "two.test"], &Origin::Srv)));
    let warnings: Vec<_> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "srv_endpoints: nothing.test: there is no SRV record _fedmsg._tcp.nothing.test",
            "srv_endpoints: empty.test: there is no SRV record _fedmsg._tcp.empty.test",
            "srv_endpoints: closed.test: _fedmsg._tcp.closed.test says that there is no such service",
            "srv_endpoints: silent.test: no answer within 1 s",
        ]
    );

    loader.srv_limit = Duration::ZERO;
    let config = loader.load().unwrap();
    assert_eq!(
        config.get("endpoints"),
        Some(&json!({"a.h": ["tcp://h:1"]}))
    );
    assert_eq!(config.warnings(), []);
}

#[cfg(feature = "srv")]
#[tokio::test]
async fn a_configuration_with_srv_records_can_be_read_within_a_runtime() {
    let server = NameServer::start();
    let dir = dir(&[("a.toml", "srv_endpoints = ['two.test']")]);
    let mut loader = loader(&dir, &["a.toml"]);
    loader.name_server = Some(server.address);
    let config = loader.load().unwrap();
    assert_eq!(
        config.query("endpoints.two.test").unwrap()[0],
        "tcp://first.test.:2"
    );
}

/// A name server on the loopback interface. Ends when dropped.
#[cfg(feature = "srv")]
struct NameServer {
    address: std::net::SocketAddr,
    running: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[cfg(feature = "srv")]
impl NameServer {
    fn start() -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let run = Arc::clone(&running);
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while run.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut query)
                    && let Some(answer) = answer(&query[..length])
                {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self {
            address,
            running,
            thread: Some(thread),
        }
    }
}

#[cfg(feature = "srv")]
impl Drop for NameServer {
    fn drop(&mut self) {
        self.running
            .store(false, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The answer to a question (RFC 1035, 4.1) for the SRV records (RFC 2782) of the test's domains.
#[cfg(feature = "srv")]
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let encoded = |name: &str| -> Vec<u8> {
        let labels = name.split('.').filter(|label| !label.is_empty());
        let labels = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        labels.chain([0]).collect()
    };
    let asked = |name| query[HEADER..].starts_with(&encoded(name));
    let records: &[(u16, u16, &str)] = if asked("_fedmsg._tcp.two.test") {
        &[(2, 1, "b.test"), (1, 2, "first.test"), (2, 1, "a.test")]
    } else if asked("_fedmsg._tcp.closed.test") {
        &[(0, 0, "")]
    } else {
        &[]
    };
    if asked("_fedmsg._tcp.silent.test") {
        return None;
    }
    let code = if asked("_fedmsg._tcp.nothing.test") {
        3
    } else {
        0
    };
    let name_end = HEADER + query[HEADER..].iter().position(|&byte| byte == 0)? + 1;
    let question = &query[HEADER..name_end + 4];
    let id = &query[..2];
    // A recursive answer, without authorities.
    let mut answer = [
        id,
        &[0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0],
    ]
    .concat();
    answer.extend(question);
    for (priority, port, target) in records {
        let target = encoded(target);
        // The name of the question, SRV, IN, 60 s.
        answer.extend([0xc0, HEADER as u8, 0, 33, 0, 1, 0, 0, 0, 60]);
        answer.extend((target.len() as u16 + 6).to_be_bytes());
        answer.extend([priority.to_be_bytes(), [0, 0], port.to_be_bytes()].concat());
        answer.extend(target);
    }
    Some(answer)
}
