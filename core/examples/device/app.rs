use fedmsg_core::{
    crypto::Signer,
    message::{Envelope, MessageId},
    publisher::{PublishError, Publisher},
    zmtp::Limits,
};

/// What the device has to say.
#[derive(serde::Serialize)]
pub(crate) struct Reading<'a> {
    pub(crate) sensor: &'a str,
    pub(crate) celsius: f32,
}

/// A device on the bus: four subscribers at once, 4 KiB of recent messages.
pub(crate) struct Device<'d> {
    pub(crate) publisher: Publisher<'d, 4>,
    sent: u64,
}

impl<'d> Device<'d> {
    pub(crate) fn new(ring: &'d mut [u8; 4096], signer: &'d dyn Signer) -> Self {
        Self {
            publisher: Publisher::signed(ring, signer, Limits::DEFAULT),
            sent: 0,
        }
    }

    /// Signs a reading and puts it in the ring, for all who subscribed. `time` is in seconds since
    /// the epoch; `entropy` comes from the device's random number generator.
    pub(crate) fn publish(
        &mut self,
        reading: &Reading<'_>,
        time: u64,
        entropy: [u8; 16],
    ) -> Result<(), PublishError> {
        self.sent += 1;
        let envelope = Envelope {
            topic: "org.example.dev.lab.reading",
            i: self.sent,
            timestamp: time,
            msg_id: MessageId::new(time, entropy),
            username: None,
            seq_id: None,
        };
        self.publisher.publish(&envelope, reading, &mut [0; 1024])
    }
}
