//! Moving a connection's bytes in an asynchronous task.

use crate::link::{End, LinkError, StreamError};
use core::{
    cell::Cell,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    task::{Poll, Waker},
};
use embedded_io_async::{Read, Write};

/// How long a task sleeps at most before it looks at a connection's clock again, in milliseconds.
const TICK: u64 = 1000;

/// How many bytes are read or written at once.
const CHUNK: usize = 128;

/// The time, for heartbeats and time limits.
pub trait Clock {
    /// Milliseconds since any fixed moment; never goes back.
    fn now(&self) -> u64;

    /// Done when [`now`](Self::now) has reached `at`.
    fn sleep_until(&self, at: u64) -> impl Future<Output = ()>;
}

/// Short access to one end of a connection, which others may use between.
pub(crate) trait Access {
    fn with<T>(&self, f: impl FnOnce(&mut dyn End) -> Result<T, LinkError>)
    -> Result<T, LinkError>;
}

/// Wakes one waiting task.
pub(crate) struct Signal(Cell<Option<Waker>>);

impl Signal {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(None))
    }

    pub(crate) fn raise(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

/// Moves bytes until the connection ends; why it did is the result.
pub(crate) async fn drive<R, W>(
    end: &impl Access,
    outgoing: &Signal,
    reader: &mut R,
    writer: &mut W,
    clock: &impl Clock,
) -> StreamError<R::Error>
where
    R: Read,
    W: Write<Error = R::Error>,
{
    let mut receiving = pin!(receive(end, outgoing, reader, clock));
    let mut sending = pin!(send(end, outgoing, writer));
    let mut ticking = pin!(tick(end, outgoing, clock));
    poll_fn(|context| {
        if let Poll::Ready(Err(error)) = receiving.as_mut().poll(context) {
            return Poll::Ready(error);
        }
        if let Poll::Ready(Err(error)) = ticking.as_mut().poll(context) {
            return Poll::Ready(error.into());
        }
        if let Poll::Ready(Err(error)) = sending.as_mut().poll(context) {
            return Poll::Ready(error);
        }
        Poll::Pending
    })
    .await
}

async fn receive<R: Read>(
    end: &impl Access,
    outgoing: &Signal,
    reader: &mut R,
    clock: &impl Clock,
) -> Result<Infallible, StreamError<R::Error>> {
    let mut buffer = [0; CHUNK];
    loop {
        let n = reader.read(&mut buffer).await.map_err(StreamError::Io)?;
        let mut bytes = match buffer.get(..n) {
            Some(bytes) if n > 0 => bytes,
            _ => return Err(StreamError::Closed),
        };
        while !bytes.is_empty() {
            let now = clock.now();
            let taken = end.with(|end| {
                let n = copy(bytes, end.space()?);
                end.received(n, now).map(|()| n)
            })?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        // It may have to be answered, or have changed what is to be sent.
        outgoing.raise();
    }
}

async fn send<W: Write>(
    end: &impl Access,
    outgoing: &Signal,
    writer: &mut W,
) -> Result<Infallible, StreamError<W::Error>> {
    let mut buffer = [0; CHUNK];
    let mut flushed = true;
    loop {
        // What was copied counts as sent at once: in the meantime others use the other end, and if
        // the stream fails the connection is over anyway.
        let n = poll_fn(|context| {
            let taken = end.with(|end| {
                let n = copy(end.outgoing()?, &mut buffer);
                end.sent(n).map(|()| n)
            });
            match taken {
                Ok(0) if flushed => {
                    outgoing.0.set(Some(context.waker().clone()));
                    Poll::Pending
                }
                other => Poll::Ready(other),
            }
        })
        .await?;
        // Not after every piece: a stream may take flushing for waiting until the peer has it all.
        let done = match buffer.get(..n) {
            Some(bytes) if n > 0 => writer.write_all(bytes).await,
            _ => writer.flush().await,
        };
        done.map_err(StreamError::Io)?;
        flushed = n == 0;
    }
}

async fn tick(
    end: &impl Access,
    outgoing: &Signal,
    clock: &impl Clock,
) -> Result<Infallible, LinkError> {
    loop {
        let now = clock.now();
        let deadline = end.with(|end| end.tick(now))?;
        outgoing.raise();
        let latest = now.saturating_add(TICK);
        clock
            .sleep_until(deadline.map_or(latest, |at| at.min(latest)))
            .await;
    }
}

/// Copies as much as fits; how much it was.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    crate::copy::copy(to, from);
    from.len().min(to.len())
}
