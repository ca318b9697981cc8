//! `fedmsg-tail` beside Python fedmsg's own: the same messages, the same lines.

use std::{os::unix::process::CommandExt as _, process::Command, thread, time::Duration};

use fedmsg::bus::{Context, Settings};
use fedmsg_tests::{
    eventually,
    programs::{Maker, Program, Site, alone, fedmsg},
};
use serde_json::{Value, json};

#[test]
fn a_tail_writes_what_the_peers_writes() {
    alone("a_tail_writes_what_the_peers_writes", || {
        let site = Site::new(|_| {
            json!({
                "topic_prefix": "org.example",
                "endpoints": {"rust.host": [ENDPOINT]},
                "validate_signatures": false,
                "fedmsg.consumers.gateway.port": 9940,
            })
        });
        site.configure("site", &json!({}), true);
        let settings = Settings {
            topic_prefix: "org.example".into(),
            name: Some("rust.host".into()),
            post_init_sleep: Duration::ZERO,
            ..Settings::default()
        };
        let settings = settings.with_endpoints("rust.host", [ENDPOINT]).unwrap();
        let context = Context::new(settings).unwrap();

        let tails: Vec<_> = FORMS
            .iter()
            .map(|arguments| {
                let theirs = site.command(Maker::Theirs, "tail", "site");
                let mut ours = Command::new(fedmsg());
                site.at(ours.arg0("fedmsg-tail"), "site");
                [theirs, ours].map(|mut command| Program::start(command.args(*arguments)))
            })
            .collect();
        let said = |part: &str| {
            let mut all = tails.iter().flatten();
            all.all(|tail| tail.has_said(part))
        };
        eventually("all tails hear", || {
            let question = json!({"text": "are you there?"});
            context.publish("git", "receive", &question).unwrap();
            thread::sleep(Duration::from_millis(50));
            said("are you there?")
        });
        for (modname, topic, msg) in messages() {
            context.publish(modname, topic, &msg).unwrap();
        }
        eventually("all messages", || said(END));

        for (arguments, tails) in FORMS.iter().zip(&tails) {
            let [theirs, ours] = tails.each_ref().map(|tail| {
                let said = tail.said();
                let (_, said) = said.split_once(BEGINNING).expect("the beginning");
                said.lines()
                    .map(|line| without_time(line).to_owned())
                    .collect::<Vec<_>>()
            });
            assert!(ours.len() > 3, "{ours:?}");
            assert_eq!(ours, theirs, "{arguments:?}");
        }
        context.close().unwrap();
    });
}

const ENDPOINT: &str = "tcp://127.0.0.1:3001";

/// The options that are compared.
const FORMS: [&[&str]; 7] = [
    &[],
    &["--pretty"],
    &["--query", "msg.text,topic, i,msg.n,nothing"],
    &["--include", "git|wiki.edit$"],
    &["--exclude", r"(?<=dev\.)wiki"],
    &["--topic", "org.example.dev.git"],
    &[
        "--topic",
        "org.example.dev.git",
        "--query",
        "msg",
        "--validate",
        "--no-validate",
    ],
];

const BEGINNING: &str = "the beginning";
const END: &str = "the end";

/// Those to compare: from the first to the last, which every form shows.
fn messages() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("git", "receive", json!({"text": BEGINNING})),
        (
            "git",
            "receive",
            json!({"text": "it's \"so\"\n\u{7}\u{e9}\u{1f600}\u{200b}\u{7f}", "n": null}),
        ),
        (
            "wiki",
            "edit",
            json!({"text": "x", "n": [1, -0.0, 1e16, 1e-7, 1.5, true, [[], {}]]}),
        ),
        (
            "wiki",
            "edit.not",
            json!({"n": 18_446_744_073_709_551_615_u64, "text": ""}),
        ),
        ("logger", "_heartbeat", json!({})),
        ("logger", "log", json!(["a list", {"of": "things"}])),
        (
            "git",
            "receive",
            json!({"text": "word ".repeat(60), "n": "word ".repeat(3)}),
        ),
        (
            "git",
            "receive",
            json!({"b": {"d": {"f": "x".repeat(90)}}, "a": vec!["item"; 40]}),
        ),
        ("git", "receive", json!({"text": END})),
    ]
}

/// A line of the log without its time.
fn without_time(line: &str) -> &str {
    match line.split_once("][fedmsg.commands ") {
        Some((_, line)) => line,
        None => line,
    }
}
