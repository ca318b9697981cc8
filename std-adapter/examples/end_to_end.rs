//! How many typed messages a second one thread publishes and another receives parsed, over TCP on
//! this machine: `cargo run --release -p fedmsg --example end_to_end [MESSAGES]`.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use fedmsg::{
    Context, Settings,
    transport::{Options, WhenFull},
};

#[derive(serde::Serialize, serde::Deserialize)]
struct Tag<'a> {
    name: &'a str,
    total: u64,
    user: &'a str,
}

fn main() -> Result<(), Box<dyn Error>> {
    let messages: u64 = match std::env::args().nth(1) {
        Some(messages) => messages.parse()?,
        None => 1_000_000,
    };
    let settings = Settings {
        name: Some("tagger".into()),
        post_init_sleep: Duration::ZERO,
        transport: Options {
            when_full: WhenFull::Block,
            linger: Duration::from_secs(60),
            ..Options::default()
        },
        ..Settings::default()
    }
    .with_endpoints("tagger", ["tcp://127.0.0.1:0"])?;
    let publisher = Context::new(settings)?;

    let endpoint = publisher.endpoint().ok_or("nothing is bound")?;
    let settings = Settings::default().with_endpoints("tagger", [endpoint.to_string()])?;
    let mut tail = Context::new(settings)?.tail("com.example.")?;
    if !publisher.wait_for_subscriber(Duration::from_secs(10))? {
        return Err("the tail did not connect".into());
    }

    let start = Instant::now();
    let sending = thread::spawn(move || {
        for total in 0..messages {
            let (name, user) = ("network", "amara");
            publisher.publish("tagger", "tag.update", &Tag { name, total, user })?;
        }
        let sent = start.elapsed();
        publisher.close()?;
        Ok::<_, fedmsg::bus::Error>(sent)
    });
    let (mut bytes, mut lost) = (0, 0);
    for expected in 0..messages {
        let taken = tail.recv_with(Some(Duration::from_secs(10)), |message| {
            let content = message.parse::<Tag<'_>>()?;
            Ok::<_, fedmsg::bus::ParseError>((content.msg.total, message.body.len()))
        })?;
        let (total, size) = match taken {
            Some(taken) => taken?,
            None => {
                return Err(format!("only {expected} messages came, {lost} out of order").into());
            }
        };
        lost += u64::from(total != expected);
        bytes += size;
    }
    let received = start.elapsed();
    let sent = sending.join().map_err(|_| "the publisher failed")??;
    let rate = |time: Duration| messages as f64 / time.as_secs_f64();
    println!(
        "{messages} messages of {} B: published {:.0} a second, received and parsed {:.0} a \
         second, {lost} out of order",
        bytes as u64 / messages,
        rate(sent),
        rate(received)
    );
    Ok(())
}
