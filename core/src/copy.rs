//! Moving bytes from one slice to another.

/// Copies `from` to the front of `to`, as far as both go.
///
/// On 32-bit ARM two words at a time: `compiler_builtins`' `memcpy`, which is what there is without
/// a libc, takes three times as many instructions unless both sides happen to be aligned alike.
#[cfg_attr(target_arch = "arm", inline(never))]
#[cfg_attr(not(target_arch = "arm"), inline)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        if cfg!(target_arch = "arm") {
            by_words(to, from);
        } else {
            to.copy_from_slice(from);
        }
    }
}

/// Moves the bytes from `from` up to `end` down to `to` (`to <= from <= end`); does nothing for
/// offsets that are out of order or out of bounds.
pub(crate) fn shift_down(bytes: &mut [u8], from: usize, end: usize, to: usize) {
    let gap = match from.checked_sub(to) {
        Some(gap) if gap > 0 => gap,
        _ => return,
    };
    // In pieces as long as the gap, which do not overlap: `copy_within` can panic.
    let mut rest = bytes.get_mut(to..end).unwrap_or_default();
    while let Some((to, from)) = rest.split_at_mut_checked(gap) {
        copy(to, from);
        rest = from;
    }
}

/// For slices of the same length.
#[inline]
fn by_words(to: &mut [u8], from: &[u8]) {
    let (to_pairs, to) = to.as_chunks_mut();
    let (from_pairs, from) = from.as_chunks();
    for (to, from) in to_pairs.iter_mut().zip(from_pairs) {
        // Word by word: the compiler would make one memcpy of `*to = *from`.
        let [a, b, c, d, e, f, g, h] = *from;
        let [a, b, c, d] = u32::from_ne_bytes([a, b, c, d]).to_ne_bytes();
        let [e, f, g, h] = u32::from_ne_bytes([e, f, g, h]).to_ne_bytes();
        *to = [a, b, c, d, e, f, g, h];
    }
    let (to, from) = piece::<4>(to, from);
    let (to, from) = piece::<2>(to, from);
    piece::<1>(to, from);
}

/// Copies the first `N` bytes, if there are as many; gives the rest, shorter than `N`.
#[inline]
fn piece<'t, 'f, const N: usize>(to: &'t mut [u8], from: &'f [u8]) -> (&'t mut [u8], &'f [u8]) {
    let (to_pieces, to) = to.as_chunks_mut::<N>();
    let (from_pieces, from) = from.as_chunks::<N>();
    if let (Some(to), Some(from)) = (to_pieces.first_mut(), from_pieces.first()) {
        *to = *from;
    }
    (to, from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn counting() -> Vec<u8> {
        (0..40).collect()
    }

    #[test]
    fn both_ways_of_copying_copy_every_byte_and_none_more() {
        for copy in [copy, by_words] {
            for len in 0..40 {
                let mut to = [0xff; 40];
                copy(&mut to[..len], &counting()[..len]);
                assert_eq!(to[..len], counting()[..len]);
                assert_eq!(to[len..], [0xff; 40][len..]);
            }
        }
    }

    #[test]
    fn the_shorter_slice_ends_a_copy() {
        let mut to = [0xff; 20];
        copy(&mut to, &[1; 9]);
        assert_eq!(to[..9], [1; 9]);
        assert_eq!(to[9..], [0xff; 11]);
        copy(&mut to[..3], &[2; 9]);
        assert_eq!(to[..4], [2, 2, 2, 1]);
    }

    #[test]
    fn shifting_down_is_copying_within_where_the_offsets_are_in_order() {
        for to in 0..12 {
            for from in 0..12 {
                for end in 0..=41 {
                    let mut shifted = counting();
                    shift_down(&mut shifted, from, end, to);
                    let mut expected = counting();
                    if to <= from && from <= end && end <= 40 {
                        expected.copy_within(from..end, to);
                    }
                    assert_eq!(shifted, expected, "{from}..{end} to {to}");
                }
            }
        }
    }
}
