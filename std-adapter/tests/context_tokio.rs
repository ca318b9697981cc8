//! The bus for tasks of tokio.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use fedmsg::{
    bus::{Context, Error, MessageStream, Settings},
    transport::{Options, WhenFull},
};
use futures_core::Stream;
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_secs(30);

/// One thread for all tasks: what would wait on it would stop the test.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

async fn in_time<F: Future>(future: F) -> F::Output {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.expect("it happens")
}

fn publisher(when_full: WhenFull) -> Arc<Context> {
    let settings = Settings {
        name: Some("git.app01".into()),
        post_init_sleep: Duration::ZERO,
        transport: Options {
            when_full,
            max_memory: 1 << 20,
            max_message: 1 << 20,
            linger: PATIENCE,
            ..Options::default()
        },
        ..Settings::default()
    }
    .with_endpoints("git.app01", ["tcp://127.0.0.1:0"])
    .unwrap();
    Arc::new(Context::new(settings).unwrap())
}

fn stream(of: &Context, capacity: usize) -> MessageStream {
    let endpoint = of.endpoint().unwrap();
    let settings = Settings::default().with_endpoints("git.app01", [endpoint.to_string()]);
    let context = Context::new(settings.unwrap()).unwrap();
    let stream = context.stream("com.example.", capacity).unwrap();
    assert!(of.wait_for_subscriber(PATIENCE).unwrap());
    stream
}

#[test]
fn tasks_publish_and_take_in_order_with_nothing_lost() {
    const MESSAGES: u64 = 3_000;
    for when_full in [WhenFull::DropOldest, WhenFull::Block] {
        let context = publisher(when_full);
        let mut stream = stream(&context, 8);
        runtime().block_on(async {
            let publishing = tokio::spawn(async move {
                for number in 0..MESSAGES {
                    let sent = context.publish_async("git", "receive", &number).await;
                    sent.unwrap();
                }
                context
            });
            for number in 0..MESSAGES {
                let message = in_time(stream.next()).await.unwrap().unwrap();
                assert_eq!(message.msg::<u64>().unwrap(), number);
            }
            publishing.await.unwrap().close().unwrap();
        });
    }
}

#[test]
fn the_first_message_waits_for_a_subscriber_without_stopping_the_other_tasks() {
    let settings = Settings {
        post_init_sleep: PATIENCE,
        ..Settings::default()
    };
    let host = gethostname::gethostname();
    let name = format!("git.{}", host.to_str().unwrap().split('.').next().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("ipc://{}", dir.path().join("bus").display());
    let settings = settings.with_endpoints(&name, [&endpoint]).unwrap();
    let context = Arc::new(Context::new(settings.clone()).unwrap());
    runtime().block_on(async {
        let publishing = tokio::spawn({
            let context = Arc::clone(&context);
            async move { context.publish_async("git", "receive", "first").await }
        });
        tokio::task::yield_now().await;
        // It is asked for only now.
        let tailing = Context::new(settings).unwrap();
        let mut stream = tailing.stream("", 8).unwrap();
        let message = in_time(stream.next()).await.unwrap().unwrap();
        assert_eq!(message.msg::<&str>().unwrap(), "first");
        in_time(publishing).await.unwrap().unwrap();
        context.close().unwrap();
        let error = context.publish_async("git", "receive", "x").await;
        assert!(matches!(error, Err(Error::Closed)));
    });
}

#[test]
fn a_stream_ends_by_its_handle_after_what_waits_in_it() {
    let context = publisher(WhenFull::DropOldest);
    let mut stream = stream(&context, 8);
    let ending = stream.ending();
    runtime().block_on(async {
        context.publish("git", "receive", &1).unwrap();
        // As a stream.
        let mut next = pin!(std::future::poll_fn(|task| {
            std::pin::Pin::new(&mut stream).poll_next(task)
        }));
        let message = in_time(&mut next).await.unwrap().unwrap();
        assert_eq!(message.msg::<u8>().unwrap(), 1);
        ending.end();
        assert!(in_time(&mut next).await.is_none());
    });
    // Its thread and socket end too.
    while context.wait_for_subscriber(Duration::ZERO).unwrap() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_dropped_stream_leaves_nothing_behind() {
    let context = publisher(WhenFull::DropOldest);
    let stream = stream(&context, 1);
    for number in 0..100 {
        context.publish("git", "receive", &number).unwrap();
    }
    drop(stream);
    while context.wait_for_subscriber(Duration::ZERO).unwrap() {
        std::thread::sleep(Duration::from_millis(2));
    }
}
