//! The LAN9118 Ethernet controller, as a device of smoltcp's or of embassy-net's. Frames are in its
//! own memory until they are read or sent: of ours it takes one frame, on the stack.

#[cfg(feature = "embassy")]
mod embassy;
#[cfg(feature = "ip")]
mod smoltcp;

#[cfg(feature = "embassy")]
pub(super) use embassy::on_interrupt;

use super::register::Register;

const BASE: usize = 0x4020_0000;
const RX_DATA: Register = Register(BASE);
const TX_DATA: Register = Register(BASE + 0x20);
const RX_STATUS: Register = Register(BASE + 0x40);
const TX_STATUS: Register = Register(BASE + 0x48);
const INTERRUPT_CONFIG: Register = Register(BASE + 0x54);
const INTERRUPT_STATUS: Register = Register(BASE + 0x58);
const INTERRUPT_ENABLE: Register = Register(BASE + 0x5c);
const BYTE_TEST: Register = Register(BASE + 0x64);
const FIFO_LEVEL: Register = Register(BASE + 0x68);
const RX_CONFIG: Register = Register(BASE + 0x6c);
const TX_CONFIG: Register = Register(BASE + 0x70);
const HARDWARE_CONFIG: Register = Register(BASE + 0x74);
const RX_LEVEL: Register = Register(BASE + 0x7c);
const TX_LEVEL: Register = Register(BASE + 0x80);
/// The MAC's registers are reached through these two.
const MAC_COMMAND: Register = Register(BASE + 0xa4);
const MAC_DATA: Register = Register(BASE + 0xa8);

/// Bit of the command: reads.
const READ: u32 = 1 << 30;

const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
/// The PHY's registers are reached through these two.
const PHY_COMMAND: u32 = 6;
const PHY_DATA: u32 = 7;

/// Reading it ends the PHY's interrupt.
const PHY_INTERRUPT_SOURCE: u32 = 29;
const PHY_INTERRUPT_MASK: u32 = 30;
/// Bit of these two: the link is there, its speed agreed on.
const NEGOTIATED: u32 = 1 << 6;

/// Its interrupt: a frame has come.
pub(super) const INTERRUPT: u16 = 13;

/// Bit of the interrupt registers: more frames have come than `FIFO_LEVEL` says.
const RX_STATUS_LEVEL: u32 = 1 << 3;
/// Bit of the interrupt status, to be looked at: the PHY has an interrupt.
const PHY_STATUS: u32 = 1 << 18;

/// The largest frame, without its checksum.
const FRAME: usize = 1514;
/// What of the transmitter's memory a frame needs: padded to words, and two words of commands.
const FRAME_ROOM: u32 = 1516 + 8;

/// How often a register is looked at before the controller counts as broken.
const PATIENCE: u32 = 1_000_000;

/// The controller.
pub struct Ethernet {
    #[cfg(feature = "embassy")]
    mac: [u8; 6],
}

impl Ethernet {
    /// Starts it with this address; `None` if it is not there.
    pub(super) fn start(mac: [u8; 6]) -> Option<Self> {
        if BYTE_TEST.read() != 0x8765_4321 {
            return None;
        }
        HARDWARE_CONFIG.write(1); // reset
        wait(|| HARDWARE_CONFIG.read() & 1 == 0)?;
        HARDWARE_CONFIG.write(1 << 20 | 5 << 16); // store and forward; 5 KB to send from
        RX_CONFIG.write(0);
        TX_CONFIG.write(2);
        let [a, b, c, d, e, f] = mac;
        write_mac(MAC_ADDRESS_HIGH, u16::from_le_bytes([e, f]).into())?;
        write_mac(MAC_ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]))?;
        write_mac(MAC_CONTROL, 1 << 20 | 1 << 3 | 1 << 2)?; // full duplex, send, receive
        write_mac(PHY_DATA, NEGOTIATED)?;
        command_phy(PHY_INTERRUPT_MASK << 6 | 1 << 1)?;
        FIFO_LEVEL.write(0);
        INTERRUPT_CONFIG.write(1 << 8 | 1 << 4 | 1); // on, active high, push-pull
        INTERRUPT_ENABLE.write(RX_STATUS_LEVEL | PHY_STATUS);
        Some(Self {
            #[cfg(feature = "embassy")]
            mac,
        })
    }

    /// Lets the interrupt come again for the next frame.
    pub(super) fn acknowledge() {
        INTERRUPT_STATUS.write(RX_STATUS_LEVEL);
    }

    /// Whether the link has come up since this was asked last.
    fn has_come_up() -> bool {
        INTERRUPT_STATUS.read() & PHY_STATUS != 0
            && command_phy(PHY_INTERRUPT_SOURCE << 6).is_some()
    }

    /// The next good frame that came, and room for an answer: without such room it waits.
    fn next_frame() -> Option<(Received, Sending)> {
        if TX_LEVEL.read() & 0xffff < FRAME_ROOM {
            return None;
        }
        while RX_LEVEL.read() >> 16 & 0xff > 0 {
            let status = RX_STATUS.read();
            let len = (status >> 16 & 0x3fff) as usize;
            let received = Received { len };
            if status & 1 << 15 == 0 && (CHECKSUM..=FRAME + CHECKSUM).contains(&len) {
                return Some((received, Sending));
            }
            received.discard();
        }
        None
    }

    /// Room for a frame, if there is.
    fn room() -> Option<Sending> {
        while TX_LEVEL.read() >> 16 & 0xff > 0 {
            TX_STATUS.read();
        }
        (TX_LEVEL.read() & 0xffff >= FRAME_ROOM).then_some(Sending)
    }
}

fn wait(mut done: impl FnMut() -> bool) -> Option<()> {
    (0..PATIENCE).any(|_| done()).then_some(())
}

fn write_mac(register: u32, value: u32) -> Option<()> {
    MAC_DATA.write(value);
    command_mac(register)
}

/// Writes one of the MAC's registers from `MAC_DATA`, or reads it to there.
fn command_mac(command: u32) -> Option<()> {
    MAC_COMMAND.write(1 << 31 | command);
    wait(|| MAC_COMMAND.read() >> 31 == 0)
}

/// Writes a register of the controller's own PHY from `PHY_DATA`, or reads it to there.
fn command_phy(command: u32) -> Option<()> {
    write_mac(PHY_COMMAND, 1 << 11 | command | 1)?;
    wait(|| command_mac(READ | PHY_COMMAND).is_some() && MAC_DATA.read() & 1 == 0)
}

/// The length of the checksum behind a received frame.
const CHECKSUM: usize = 4;

/// The frame that is next to be read.
pub struct Received {
    /// With its checksum.
    len: usize,
}

impl Received {
    fn discard(self) {
        for _ in 0..self.len.div_ceil(4) {
            RX_DATA.read();
        }
    }

    fn take<R>(self, read: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut frame = [0; FRAME + CHECKSUM + 2];
        for (word, _) in frame
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(0..self.len.div_ceil(4))
        {
            *word = RX_DATA.read().to_le_bytes();
        }
        read(frame.get_mut(..self.len - CHECKSUM).unwrap_or_default())
    }
}

/// Room for a frame.
pub struct Sending;

impl Sending {
    fn fill<R>(self, len: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut buffer = [0; FRAME + 2];
        let len = len.min(FRAME);
        let result = write(buffer.get_mut(..len).unwrap_or_default());
        TX_DATA.write(1 << 13 | 1 << 12 | len as u32); // first and last piece
        TX_DATA.write(len as u32);
        for (word, _) in buffer.as_chunks().0.iter().zip(0..len.div_ceil(4)) {
            TX_DATA.write(u32::from_le_bytes(*word));
        }
        result
    }
}
