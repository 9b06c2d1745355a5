//! The one call of libdeflate that its safe wrappers lack: inflating one gzip member and telling how much input it was.
//!
//! Without that, bytes behind the first member (a second one, or rubbish) would go unnoticed.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;

use libdeflate_sys as sys;

/// A decompressor and its tables, some 11 KiB; used again and again by one thread at a time.
pub struct Decompressor(NonNull<sys::libdeflate_decompressor>);

// SAFETY: the decompressor is plain memory that is only reached through `&mut self`; libdeflate keeps no thread-local
// or global state about it.
unsafe impl Send for Decompressor {}

/// What became of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// Whole, with the right checksum and length: so much input made so much output.
    Whole {
        read: usize,
        written: usize,
    },
    /// The output would not fit.
    NoSpace,
    Bad,
}

impl Default for Decompressor {
    fn default() -> Self {
        // SAFETY: takes nothing; null means that memory could not be had, as for any allocation.
        let made = unsafe { sys::libdeflate_alloc_decompressor() };
        Self(NonNull::new(made).expect("11 KiB of memory can be had"))
    }
}

impl Decompressor {
    /// Inflates the first gzip member of `input` into `output`.
    pub fn gzip_member(&mut self, input: &[u8], output: &mut [u8]) -> Member {
        let (mut read, mut written) = (0, 0);
        // SAFETY: the pointers and lengths are those of live slices, `output` is exclusively borrowed, and libdeflate
        // reads and writes only within them; `read` and `written` outlive the call.
        let result = unsafe {
            sys::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast::<c_void>(),
                input.len(),
                output.as_mut_ptr().cast::<c_void>(),
                output.len(),
                &mut read,
                &mut written,
            )
        };
        match result {
            sys::libdeflate_result_LIBDEFLATE_SUCCESS => Member::Whole { read, written },
            sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => Member::NoSpace,
            _ => Member::Bad,
        }
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: made by libdeflate_alloc_decompressor and freed nowhere else.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn tells_how_much_it_read_and_when_space_is_short() {
        let first = gzip(b"hello");
        let both = [first.clone(), gzip(b"more")].concat();
        let mut output = [0; 5];
        let member = Decompressor::default().gzip_member(&both, &mut output);
        assert_eq!(member, Member::Whole { read: first.len(), written: 5 });
        assert_eq!(&output, b"hello");
        assert_eq!(Decompressor::default().gzip_member(&first, &mut output[..4]), Member::NoSpace);
        assert_eq!(Decompressor::default().gzip_member(&first[..first.len() - 1], &mut output), Member::Bad);
        assert_eq!(Decompressor::default().gzip_member(&[], &mut output), Member::Bad);
    }

    proptest! {
        #[test]
        fn any_bytes_are_whole_or_refused(data: Vec<u8>, space in 0usize..300) {
            let mut output = vec![0; space];
            let _ = Decompressor::default().gzip_member(&data, &mut output);
        }

        #[test]
        fn what_was_compressed_comes_back(data: Vec<u8>) {
            let (input, mut output) = (gzip(&data), vec![0; data.len()]);
            let member = Decompressor::default().gzip_member(&input, &mut output);
            prop_assert_eq!(member, Member::Whole { read: input.len(), written: data.len() });
            prop_assert_eq!(output, data);
        }
    }
}
