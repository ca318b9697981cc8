//! Canonical JSON beside `serde_json`: writing values whose members are sorted already, writing
//! structs, and making text canonical against reading it and writing it again.
//!
//! The messages are our own, in the shape of the Fedora bus's. `FEDMSG_MESSAGES` names a file of
//! others to measure, one a line.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fedmsg_core::json::{HOST_DEPTH, canonicalize, to_slice};
use serde::Serialize;
use serde_json::Value;

/// As Python's `json.dumps` writes them, keys sorted, with its spaces.
const MESSAGES: &str = r#"{"i": 1, "msg": {"agent": "mkell", "branched": ["nethack", "nano"], "unbranched": []}, "msg_id": "2026-6b0ac9cf-0d0d-4b6a-8bbd-5b7d4c0c1f1e", "timestamp": 1795430850.886738, "topic": "org.example.prod.git.branch.complete", "username": "apache"}
{"i": 4, "msg": {"distro": null, "message": {"agent": "ada@example.org", "project": "ansi2html"}, "project": {"created_on": 1786839688.0, "homepage": "https://git.example.org/ada/ansi2html", "id": 4, "logs": null, "name": "ansi2html", "packages": [], "regex": "DEFAULT", "updated_on": 1786839688.0, "version": null}}, "msg_id": "2026-154429ec-842e-4d7f-acae-8d7434b4cbff", "timestamp": 1795430821, "topic": "org.example.prod.monitoring.project.add", "username": "apache"}
{"i": 718, "msg": {"build": {"architectures": ["aarch64", "ppc64le", "x86_64"], "duration": 412.75, "epoch": null, "id": 2218734, "name": "python-cryptography", "nvr": "python-cryptography-45.0.1-2.fc43", "owner": "gr\u00e9goire", "release": "2.fc43", "state": 1, "task_id": 118374652, "version": "45.0.1"}, "instance": "primary", "new": 1, "old": 0}, "msg_id": "2026-0fa1b1c8-6f0e-4be9-a1d4-23d5b34b4f0b", "timestamp": 1795431007.1182, "topic": "org.example.prod.buildsys.build.state.change", "username": "koji"}
{"i": 23, "msg": {"commit": {"branch": "rawhide", "email": "noor@example.org", "message": "Update to 8.3\n\n- drop the patch that went upstream\n- \"make check\" runs again", "name": "Noor", "rev": "4f1b0d9c0f1f3b6a2f4be0f3a0cbd7d1e7e1c2aa", "seen": false, "stats": {"files": {"nano.spec": {"additions": 3, "deletions": 9, "lines": 12}, "sources": {"additions": 1, "deletions": 1, "lines": 2}}, "total": {"additions": 4, "deletions": 10, "files": 2, "lines": 14}}, "summary": "Update to 8.3"}}, "msg_id": "2026-c1b0c5b0-77a5-4b2c-8f1a-35a8d8c7a1de", "timestamp": 1795431130.532, "topic": "org.example.prod.git.receive", "username": "gitolite"}
"#;

fn messages() -> Vec<String> {
    let text = match std::env::var("FEDMSG_MESSAGES") {
        Ok(file) => std::fs::read_to_string(file).unwrap(),
        Err(_) => MESSAGES.to_owned(),
    };
    text.lines().map(str::to_owned).collect()
}

fn canonical(text: &str) -> Vec<u8> {
    let mut out = vec![0; 6 * text.len()];
    let len = canonicalize(text.as_bytes(), &mut out, HOST_DEPTH).unwrap();
    out.truncate(len);
    out
}

fn bytes(texts: &[impl AsRef<[u8]>]) -> Throughput {
    Throughput::Bytes(texts.iter().map(|text| text.as_ref().len() as u64).sum())
}

/// Values whose members are sorted already: `serde_json`'s map is a B-tree.
fn serialize(c: &mut Criterion) {
    let messages = messages();
    let values: Vec<Value> = messages
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let texts: Vec<Vec<u8>> = messages.iter().map(|text| canonical(text)).collect();
    let mut out = vec![0; 1 << 20];
    for (value, text) in values.iter().zip(&texts) {
        let len = to_slice(value, &mut out).unwrap();
        assert_eq!(out[..len], text[..]);
    }

    let mut group = c.benchmark_group("serialize sorted values");
    group.throughput(bytes(&texts));
    group.bench_function("fedmsg", |b| {
        b.iter(|| {
            for value in &values {
                black_box(to_slice(black_box(value), &mut out).unwrap());
            }
        });
    });
    group.bench_function("serde_json::to_vec", |b| {
        b.iter(|| {
            for value in &values {
                black_box(serde_json::to_vec(black_box(value)).unwrap());
            }
        });
    });
    group.finish();
}

#[derive(Serialize)]
struct Reading<'a> {
    topic: &'a str,
    username: &'a str,
    i: u32,
    timestamp: u64,
    msg_id: &'a str,
    msg: Measurement<'a>,
}

#[derive(Serialize)]
struct Measurement<'a> {
    sensor: &'a str,
    celsius: f64,
    humidity: f64,
    history: [u16; 8],
    alarm: Option<&'a str>,
}

/// A struct in the order of its declaration: ours is sorted, `serde_json`'s is not.
fn serialize_struct(c: &mut Criterion) {
    let reading = Reading {
        topic: "org.example.dev.lab.reading",
        username: "node17",
        i: 1812,
        timestamp: 1_795_431_130,
        msg_id: "2026-c1b0c5b0-77a5-4b2c-8f1a-35a8d8c7a1de",
        msg: Measurement {
            sensor: "b\u{fc}ro",
            celsius: 21.4375,
            humidity: 0.617,
            history: [211, 212, 212, 213, 213, 214, 214, 214],
            alarm: None,
        },
    };
    let mut out = [0; 1024];
    let len = to_slice(&reading, &mut out).unwrap();

    let mut group = c.benchmark_group("serialize an unsorted struct");
    group.throughput(Throughput::Bytes(len as u64));
    group.bench_function("fedmsg, sorted", |b| {
        b.iter(|| to_slice(black_box(&reading), &mut out).unwrap());
    });
    group.bench_function("serde_json::to_vec, unsorted", |b| {
        b.iter(|| serde_json::to_vec(black_box(&reading)).unwrap());
    });
    group.bench_function("serde_json through a sorted map", |b| {
        b.iter(|| {
            let value = serde_json::to_value(black_box(&reading)).unwrap();
            serde_json::to_vec(&value).unwrap()
        });
    });
    group.finish();
}

fn canonicalize_text(c: &mut Criterion) {
    let messages = messages();
    // The members the other way round: every object must be sorted.
    let reversed: Vec<String> = messages
        .iter()
        .map(|text| reversed(&serde_json::from_str(text).unwrap()))
        .collect();
    let mut out = vec![0; 1 << 20];
    for (name, texts) in [("sorted", &messages), ("unsorted", &reversed)] {
        let mut group = c.benchmark_group(format!("canonicalize {name} text"));
        group.throughput(bytes(texts));
        group.bench_function("fedmsg", |b| {
            b.iter(|| {
                for text in texts {
                    let text = black_box(text.as_bytes());
                    black_box(canonicalize(text, &mut out, HOST_DEPTH).unwrap());
                }
            });
        });
        group.bench_function("serde_json, read and write", |b| {
            b.iter(|| {
                for text in texts {
                    let value: Value = serde_json::from_str(black_box(text)).unwrap();
                    black_box(serde_json::to_vec(&value).unwrap());
                }
            });
        });
        group.finish();
    }
}

fn reversed(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(reversed).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{}: {}", Value::from(key.as_str()), reversed(value))
            };
            let members: Vec<String> = map.iter().rev().map(member).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

criterion_group!(benches, serialize, serialize_struct, canonicalize_text);
criterion_main!(benches);
