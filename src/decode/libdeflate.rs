//! A safe face for the one libdeflate function that is needed: a whole gzip member from memory to memory.
//!
//! The only unsafe code of the crate. libdeflate is used through its C functions because the one that says how much of
//! the input it took (`libdeflate_gzip_decompress_ex`) is what shows further members and trailing bytes.

#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result_LIBDEFLATE_SUCCESS as SUCCESS,
};

/// The working memory of one decompression at a time, about 11 KiB.
#[derive(Debug)]
pub(super) struct Decompressor(NonNull<libdeflate_decompressor>);

/// How far a member that was whole and intact went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Bytes of the input up to the end of the member.
    pub(super) taken: usize,
    /// Bytes written to the start of the output.
    pub(super) written: usize,
}

// SAFETY: the memory behind the pointer belongs to this value alone, and libdeflate ties it to no thread.
unsafe impl Send for Decompressor {}

impl Decompressor {
    pub(super) fn new() -> Self {
        // SAFETY: takes no arguments; the result is null or a decompressor that `drop` frees.
        let pointer = unsafe { libdeflate_alloc_decompressor() };
        // It fails only for want of memory, and then as every other allocation does.
        Self(NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(Layout::new::<[u8; 11 * 1024]>())))
    }

    /// Inflates the gzip member at the start of `input`, checking its checksum and length.
    ///
    /// `None` when it is no member, is not whole or intact, or needs more room than `output` has; what `output` holds
    /// then is unspecified.
    pub(super) fn gzip(&mut self, input: &[u8], output: &mut [u8]) -> Option<Member> {
        let (mut taken, mut written) = (0, 0);
        // SAFETY: the decompressor is live and `&mut self` makes this its only use; input and output are valid for
        // their lengths, do not overlap (one is borrowed mutably), and are only read, respectively only written, by
        // the call; both results point to live integers.
        let result = unsafe {
            libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                output.as_mut_ptr().cast(),
                output.len(),
                &mut taken,
                &mut written,
            )
        };
        (result == SUCCESS).then_some(Member { taken, written })
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: it came from `libdeflate_alloc_decompressor` and is freed only here.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::bufread::MultiGzDecoder;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_member_ends_where_the_next_one_starts() {
        let first = gzip(b"one");
        let both = [first.clone(), gzip(b"two")].concat();
        let mut output = [0; 16];
        let member = Decompressor::new().gzip(&both, &mut output);
        assert_eq!(member, Some(Member { taken: first.len(), written: 3 }));
        assert_eq!(&output[..3], b"one");
    }

    #[test]
    fn it_writes_no_further_than_its_room() {
        let member = gzip(&[7; 1000]);
        let mut output = [0; 1010];
        assert_eq!(Decompressor::new().gzip(&member, &mut output[..999]), None);
        assert_eq!(output[999..], [0; 11]);
        assert_eq!(Decompressor::new().gzip(&member, &mut output[..1000]).unwrap().written, 1000);
        assert_eq!(output[1000..], [0; 10]);
        assert_eq!(Decompressor::new().gzip(&gzip(b""), &mut []).unwrap().written, 0);
    }

    #[test]
    fn it_serves_again_after_a_failure_and_on_another_thread() {
        let mut decompressor = Decompressor::new();
        assert_eq!(decompressor.gzip(b"\x1f\x8bno", &mut [0; 9]), None);
        assert_eq!(decompressor.gzip(&[], &mut []), None);
        let written =
            std::thread::spawn(move || decompressor.gzip(&gzip(b"three"), &mut [0; 9]).unwrap().written).join();
        assert_eq!(written.unwrap(), 5);
    }

    proptest! {
        /// Any bytes, and members with bytes changed or cut off: no crash, nothing written outside, and no success
        /// that another implementation does not have too.
        #[test]
        fn damaged_members_are_refused(
            content in prop::collection::vec(0u8..4, 0..2000),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            keep in 0usize..3000,
            room in 0usize..3000,
        ) {
            let mut input = gzip(&content);
            for (at, byte) in changes {
                let at = at.index(input.len());
                input[at] = byte;
            }
            input.truncate(keep);
            let mut output = vec![0xaa; room + 8];
            let member = Decompressor::new().gzip(&input, &mut output[..room]);
            prop_assert_eq!(&output[room..], &[0xaa; 8]);
            if let Some(member) = member {
                let mut expected = Vec::new();
                MultiGzDecoder::new(&input[..member.taken]).read_to_end(&mut expected).unwrap();
                prop_assert_eq!(&output[..member.written], &expected[..]);
            }
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(input in prop::collection::vec(any::<u8>(), 0..300), room in 0usize..300) {
            let input = [&[0x1f, 0x8b, 8, 0][..], &input].concat();
            let mut output = vec![0xaa; room + 8];
            Decompressor::new().gzip(&input, &mut output[..room]);
            prop_assert_eq!(&output[room..], &[0xaa; 8]);
        }
    }
}
