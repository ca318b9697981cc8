//! The door for services on tokio.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    thread,
};

use fedmsg_core::message::{MessageId, Payload};
use futures_core::Stream;
use tokio::sync::mpsc;

use super::{Context, Ending, Error, Message, TailOptions};
use crate::transport::{self, Transport, WhenFull};

impl<T: Transport + Send + Sync + 'static> Context<T> {
    /// As [`publish`](Self::publish), for tasks: what may wait (the first message's opening, and
    /// [`WhenFull::Block`]) does so on a thread of tokio's for that.
    ///
    /// A future that is dropped may or may not have sent its message.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_async<M: Payload + ?Sized>(
        self: &Arc<Self>,
        modname: &str,
        topic: &str,
        msg: &M,
    ) -> Result<MessageId, Error> {
        if !self.is_open() {
            let (context, modname) = (Arc::clone(self), modname.to_owned());
            wait(move || context.open(&modname)).await?;
        }
        if self.settings().transport.when_full != WhenFull::Block {
            return self.publish(modname, topic, msg);
        }
        let mut message = (String::new(), Vec::new());
        let id = self.encode(modname, topic, msg, |encoded| {
            message = (encoded.topic().to_owned(), encoded.body().concat());
            Ok(())
        })?;
        let context = Arc::clone(self);
        wait(move || context.send(&message.0, &[&message.1])).await?;
        Ok(id)
    }

    /// As [`tail`](Self::tail), for tasks. Up to `capacity` messages wait in the stream; when it is
    /// full the rest waits in the socket, up to its [high-water
    /// mark](transport::Options::high_water_mark).
    ///
    /// The stream has a thread of its own, which ends with it.
    ///
    /// # Errors
    /// As [`tail`](Self::tail); [`Error::Transport`] when there can be no more threads.
    pub fn stream(
        &self,
        options: impl Into<TailOptions>,
        capacity: usize,
    ) -> Result<MessageStream, Error> {
        let mut tail = self.tail(options)?;
        let ending = tail.ending();
        let (sender, messages) = mpsc::channel(capacity.max(1));
        let thread = thread::Builder::new().name("fedmsg-stream".into());
        let spawned = thread.spawn(move || {
            for message in tail {
                // Fails when the stream is gone.
                if sender.blocking_send(message).is_err() {
                    break;
                }
            }
        });
        spawned.map_err(|source| transport::Error::Io {
            doing: "start a thread".into(),
            source,
        })?;
        Ok(MessageStream { messages, ending })
    }
}

/// The messages of others, as a [`Stream`]. Like a [`Tail`](super::Tail) it ends by its
/// [`Ending`] or after an error only.
#[derive(Debug)]
pub struct MessageStream {
    messages: mpsc::Receiver<Result<Message<'static>, Error>>,
    ending: Ending,
}

impl MessageStream {
    /// Ends the stream from elsewhere. What waits in it still comes.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// The next message; `None` at the end. (With `futures` or `tokio-stream`, a stream has many
    /// more methods.) A future that is dropped has taken no message.
    pub async fn next(&mut self) -> Option<Result<Message<'static>, Error>> {
        self.messages.recv().await
    }
}

impl Stream for MessageStream {
    type Item = Result<Message<'static>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        self.messages.poll_recv(task)
    }
}

impl Drop for MessageStream {
    fn drop(&mut self) {
        self.ending.end();
    }
}

/// Does on a thread for it what may wait.
async fn wait(work: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
    // It fails only when the runtime ends.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(Error::Closed))
}
