//! The checksum of what lies in flash and of what goes over a serial line.

/// CRC-32 of IEEE 802.3. Bit by bit, without a table: it is for a kilobyte once a boot, and for a
/// frame that takes the line a hundred times as long.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_one_of_ieee_802_3() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
