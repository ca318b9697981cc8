//! Strings: which characters stand as they are, how the others are escaped, and how escapes and
//! UTF-8 are read. The peer's rules: everything outside printable ASCII is escaped, DEL included,
//! in UTF-16 units of lower-case hex; `/` is not.

use super::ErrorKind;

/// Marks (with the top bit of its byte) the first byte of eight that cannot stand in a string as
/// it is: a quote, a backslash, or anything outside printable ASCII. Bytes above the first marked
/// one may be marked wrongly.
pub(super) const fn specials(word: u64) -> u64 {
    // Exchanges a quote and a space, so that what is below a quote is a control character or it.
    let control_or_quote = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
    let delete = word.wrapping_add(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control_or_quote | backslash | delete | word) & (ONES * 0x80)
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// The number of the first byte that [`specials`] marked.
pub(super) const fn first_marked(special: u64) -> usize {
    (special.trailing_zeros() / 8) as usize
}

/// Up to seven bytes as the low ones of eight; the others are zero, which is special.
pub(super) fn low_bytes(bytes: &[u8]) -> u64 {
    let byte = |number: usize| {
        let byte = bytes.get(number).copied().unwrap_or_default();
        u64::from(byte) << (8 * number)
    };
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            let shift = 8 * (bytes.len() - 4) as u32;
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last.unbounded_shl(shift)
        }
        _ => byte(0) | byte(1) | byte(2),
    }
}

/// Whether a byte stands in a string as it is.
pub(super) const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x7f && byte != b'"' && byte != b'\\'
}

/// How many bytes at the beginning stand in a string as they are.
pub(super) fn plain_len(text: &[u8]) -> usize {
    let mut len = 0;
    for word in text.as_chunks::<8>().0 {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return len + first_marked(special);
        }
        len += 8;
    }
    let tail = text.get(len..).unwrap_or_default();
    len + tail.iter().take_while(|byte| is_plain(**byte)).count()
}

/// The letter after the backslash, for a character that has a short escape.
pub(super) const fn short_escape(unit: u16) -> Option<u8> {
    Some(match unit {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0x22 => b'"',
        0x5c => b'\\',
        _ => return None,
    })
}

/// `\uxxxx`.
pub(super) fn unicode_escape(unit: u16) -> [u8; 6] {
    let digit = |shift: u32| {
        let nibble = ((unit >> shift) & 0xf) as u8;
        nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
    };
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

/// Reads what follows a backslash: a UTF-16 unit and the rest of the text.
pub(super) fn read_escape(text: &[u8]) -> Result<(u16, &[u8]), ErrorKind> {
    let (&letter, rest) = text.split_first().ok_or(ErrorKind::UnexpectedEnd)?;
    let unit = match letter {
        b'"' | b'\\' | b'/' => u16::from(letter),
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => 0x0a,
        b'r' => 0x0d,
        b't' => 0x09,
        b'u' => {
            let (digits, rest) = rest.split_first_chunk::<4>().ok_or(ErrorKind::BadEscape)?;
            let mut unit = 0;
            for &digit in digits {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    b'A'..=b'F' => digit - b'A' + 10,
                    _ => return Err(ErrorKind::BadEscape),
                };
                unit = (unit << 4) | u16::from(value);
            }
            return Ok((unit, rest));
        }
        _ => return Err(ErrorKind::BadEscape),
    };
    Ok((unit, rest))
}

/// Reads a character beyond ASCII. `None` where the bytes are not UTF-8.
pub(super) fn read_utf8(text: &[u8]) -> Option<(char, &[u8])> {
    let bits = |byte: u8| u32::from(byte & 0x3f);
    let (code, least, rest) = match *text {
        [a @ 0xc2..=0xdf, b @ 0x80..=0xbf, ref rest @ ..] => {
            (u32::from(a & 0x1f) << 6 | bits(b), 0x80, rest)
        }
        [
            a @ 0xe0..=0xef,
            b @ 0x80..=0xbf,
            c @ 0x80..=0xbf,
            ref rest @ ..,
        ] => (
            u32::from(a & 0x0f) << 12 | bits(b) << 6 | bits(c),
            0x800,
            rest,
        ),
        [
            a @ 0xf0..=0xf4,
            b @ 0x80..=0xbf,
            c @ 0x80..=0xbf,
            d @ 0x80..=0xbf,
            ref rest @ ..,
        ] => (
            u32::from(a & 0x07) << 18 | bits(b) << 12 | bits(c) << 6 | bits(d),
            0x1_0000,
            rest,
        ),
        _ => return None,
    };
    let character = char::from_u32(code)?; // no surrogates, nothing above U+10FFFF
    (code >= least).then_some((character, rest)) // nothing overlong
}

/// Joins two UTF-16 units to the code point that they stand for, if they are a pair.
pub(super) fn join_surrogates(high: u16, low: u16) -> Option<u32> {
    ((0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low))
        .then(|| 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(low) - 0xdc00))
}

/// Splits a character into one or two UTF-16 units.
pub(super) fn split_surrogates(character: char) -> (u16, Option<u16>) {
    let code = character as u32;
    match code.checked_sub(0x1_0000) {
        None => (code as u16, None),
        Some(above) => (
            0xd800 + (above >> 10) as u16,
            Some(0xdc00 + (above & 0x3ff) as u16),
        ),
    }
}
