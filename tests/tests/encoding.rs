//! Values to JSON and JSON to texts for people, against Python and its fedmsg: the same characters.

use std::{cell::RefCell, env, process::Command};

use fedmsg::encoding::{
    LoadError, Tree, Unheld, dict_query, dumps, loads, pretty_dumps,
    python::{ctime, pformat, repr, str},
};
use fedmsg_core::crypto::base64;
use fedmsg_tests::python::{Script, environment, real_messages};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

#[test]
fn the_vectors_come_out_as_from_the_peer() {
    let python = RefCell::new(python());
    let mut held = 0;
    for line in include_str!("../../core/tests/data/canonical.jsonl").lines() {
        let vector: Value = loads(line).unwrap();
        let text = match vector["in_b64"].as_str() {
            None => vector["in"].as_str().unwrap().as_bytes().to_vec(),
            Some(base64) => {
                let mut bytes = base64.as_bytes().to_vec();
                let len = base64::decode_in_place(&mut bytes).unwrap();
                bytes.truncate(len);
                bytes
            }
        };
        held += u32::from(same(&python, &text));
    }
    assert_eq!(held, 1445);
}

#[test]
fn real_messages_come_out_as_from_the_peer() {
    let python = RefCell::new(python());
    let messages = real_messages();
    assert_eq!(messages.len(), 738);
    for message in messages {
        assert!(same(&python, message["text"].as_str().unwrap().as_bytes()));
    }
}

#[test]
fn made_up_texts_come_out_as_from_the_peer() {
    let python = RefCell::new(python());
    cases(600)
        .run(&text(), |text| {
            same(&python, text.as_bytes());
            Ok(())
        })
        .unwrap();
}

/// Compares every form of a text. Whether a value could hold it.
#[track_caller]
fn same(python: &RefCell<Script>, bytes: &[u8]) -> bool {
    let request = json!(["forms", bytes.len()]);
    let answer = python.borrow_mut().ask(&request, &[bytes]);
    let tree = Tree::read(bytes);
    let text = &*String::from_utf8_lossy(bytes);
    let Ok(answer) = answer else {
        assert!(tree.is_err(), "{text}");
        assert!(
            matches!(loads::<Value>(bytes), Err(LoadError::Json(_))),
            "{text}"
        );
        return false;
    };
    let theirs: Vec<_> = answer
        .blobs
        .iter()
        .map(|blob| String::from_utf8_lossy(blob))
        .collect();
    let Ok(tree) = tree else {
        // Python reads, and then shows, about twice as deep.
        assert!(text.matches(['[', '{']).count() > 512, "{text}");
        return false;
    };
    let (known, theirs) = theirs.split_first().unwrap();
    assert_eq!(tree.pretty().to_string(), theirs[1]);
    // Which characters are printable changes with Unicode's version.
    if known == "True" {
        let ours = [repr(&tree), str(&tree), pformat(&tree).to_string()];
        for (ours, theirs) in ours.iter().zip(&theirs[2..]) {
            assert!(
                ours == theirs || theirs == "too deep",
                "{text}\nours\n{ours}\ntheirs\n{theirs}"
            );
        }
    }
    match loads::<Value>(text) {
        Ok(value) => {
            // "-0" is an integer in Python.
            if !text.contains("-0") {
                assert_eq!(dumps(&value).unwrap(), theirs[0], "{text}");
            }
            assert_eq!(
                pretty_dumps(&value).unwrap(),
                Tree::read(dumps(&value).unwrap().as_bytes())
                    .unwrap()
                    .pretty()
                    .to_string()
            );
            true
        }
        Err(LoadError::Unheld { what, offset }) => {
            let at = &text[offset..];
            let digits = at.trim_start_matches('-');
            match what {
                Unheld::Integer => assert!(digits.len() >= 19),
                Unheld::NotFinite => assert!(digits.starts_with(char::is_alphanumeric)),
                Unheld::LoneSurrogate => assert!(at.starts_with("\\u")),
                other => panic!("{other:?}"),
            }
            false
        }
        Err(error) => {
            assert!(
                matches!(error, LoadError::Json(_)) && text.len() > 127,
                "{text}: {error}"
            );
            false
        }
    }
}

#[test]
fn queries_find_what_the_peers_find() {
    let mut python = python();
    let message = json!({
        "topic": "org.example", "msg": {"a": {"b": [1, {"c": 2}], "n": null}, "": 1}, "i": 3,
    });
    for query in [
        "topic",
        "msg.a.b",
        "msg.a.b.c",
        "msg.a.n",
        "msg.a.n.x",
        "msg.",
        "i.x",
        "",
        ".",
        ",",
        " i , topic,i",
        "msg.a, i",
        "nothing.at.all",
    ] {
        let answer = python.ask(&json!(["query", message, query]), &[]).unwrap();
        let theirs: Value = loads(&answer.blobs[0]).unwrap();
        assert_eq!(json!(dict_query(&message, query)), theirs, "{query}");
        let text = message.to_string();
        let tree = Tree::read(text.as_bytes()).unwrap();
        let found = tree.query(query).into_iter().map(|(name, found)| {
            let found = found.map(|tree| loads::<Value>(&tree.pretty().to_string()).unwrap());
            json!([name, found])
        });
        assert_eq!(Value::from_iter(found), theirs, "{query}");
    }
}

#[test]
fn times_are_shown_in_local_time_as_the_peer_shows_them() {
    const ZONE: &str = "EST5EDT,M3.2.0,M11.1.0";
    if env::var("TZ").as_deref() != Ok(ZONE) {
        let own = env::current_exe().unwrap();
        let name = "times_are_shown_in_local_time_as_the_peer_shows_them";
        let run = Command::new(own)
            .args(["--exact", name])
            .env("TZ", ZONE)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let mut python = python();
    assert_eq!(
        ctime(1_795_430_850.9).as_deref(),
        Some("Mon Nov 23 05:47:30 2026")
    );
    let times = [
        0.0,
        -0.5,
        1.0,
        1e9,
        1_782_864_000.0,
        1_795_430_850.886_738,
        4e9,
        2e11,
    ];
    for seconds in times {
        let theirs = python.ask(&json!(["ctime", seconds]), &[]).unwrap();
        let theirs = String::from_utf8_lossy(&theirs.blobs[0]).into_owned();
        assert_eq!(ctime(seconds), Some(theirs), "{seconds}");
    }
    for no_time in [f64::NAN, f64::INFINITY, 1e14, 1e300] {
        assert_eq!(ctime(no_time), None);
    }
}

#[test]
fn characters_are_shown_and_lines_broken_where_python_does() {
    let answer = python().ask(&json!(["characters"]), &[]).unwrap();
    let [printable, space, known] = &answer.blobs[..] else {
        panic!("three lists");
    };
    let word = "a".repeat(50);
    for character in (0..=0x10_ffff).filter_map(char::from_u32) {
        let point = character as usize;
        if known[point] == 0 || "'\\".contains(character) {
            continue;
        }
        let string = Tree::string(&character.to_string()).unwrap();
        let is_shown = repr(&string) == format!("'{character}'");
        assert_eq!(is_shown, printable[point] == 1, "{character:?}");
        if point < 0x3100 {
            let string = Tree::string(&format!("{word}{character}{word}")).unwrap();
            assert_eq!(
                pformat(&string).to_string().contains('\n'),
                space[point] == 1,
                "{character:?}"
            );
        }
    }
    assert!(space[0x3100..].iter().all(|is_space| *is_space == 0));
}

fn python() -> Script {
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/py/fedmsg-requirements.txt");
    let python = environment("fedmsg-1.1.7", &["-r", requirements]);
    Script::start(&python, include_str!("../py/encoding.py"), &[])
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// JSON texts with what decides how Python lays them out: long words and short ones, lines, quotes,
/// characters of every kind, numbers, depth.
fn text() -> impl Strategy<Value = String> {
    let words = || {
        prop_oneof![
            prop::collection::vec("[a-z]{1,12}( |  |\n|\r\n|\t)?", 0..30)
                .prop_map(|words| words.concat()),
            prop::collection::vec("[a-z'\"\\\\]{1,40} ?", 0..6).prop_map(|words| words.concat()),
            // All of them as old as Python's Unicode, or older.
            "[\u{0}-\u{2ff}\u{378}\u{200b}-\u{200f}\u{2028}\u{2029}\u{3000}\u{ac00}-\u{ac0f}\u{e000}\u{fffe}\
              \u{1f600}-\u{1f60f}\u{e0001}\u{10ffff}]{0,40}",
        ]
        .prop_map(|text| dumps(&text).unwrap())
    };
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just(r#""ab\ud83d cd""#.to_owned()),
        "-?[1-9][0-9]{0,25}",
        "-?[1-9]\\.[0-9]{1,20}[eE]-?[0-9]{1,2}",
        words(),
        words(),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let key = prop_oneof!["\"[a-z]{0,30}\"", words()];
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("{key}: {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}
