//! How the ledger keeps a body: compressed with zstd and a dictionary trained on events, so that the typical
//! record stays within one write unit (1 KB).
//!
//! The number of the dictionary stands in the frame itself (RFC 8878, `Dictionary_ID`). A dictionary that was
//! shipped is part of the stored format for ever: a new one gets a new number, and the old ones stay here to
//! be read. Dictionaries are trained by `billhook train-dictionary` from the sample events of this project.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

use billhook_core::envelope::BODY_BYTES_MAX;

/// Every dictionary that was ever shipped, with its number. The last one is used for writing.
const DICTIONARIES: &[(u32, &[u8])] = &[(1, include_bytes!("../dictionaries/1.zdict"))];

/// Level 9 takes about 50 µs of CPU for an event and keeps 95 of 100 records within one write unit; level 6
/// takes half of that and makes records 7 % larger, level 19 takes ten times as much.
const LEVEL: i32 = 9;

/// A message that is no envelope is parked as it came, and a queue message may have 1 MiB.
const UNPACKED_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// Packs and unpacks bodies.
pub struct Codec {
    /// Compression needs a working memory of some size, which is worth keeping.
    compressor: Mutex<Compressor<'static>>,
}

/// Why a stored body cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It was packed with a dictionary that this version does not have: a newer one does.
    #[error("dictionary {0} is not known")]
    UnknownDictionary(u32),
    /// It is not what was packed.
    #[error("the body is damaged")]
    Damaged,
}

impl Codec {
    /// Prepares the newest dictionary.
    #[must_use]
    pub fn new() -> Self {
        let newest = DICTIONARIES
            .last()
            .map_or(&[][..], |(_, dictionary)| dictionary);
        let compressor = Compressor::with_dictionary(LEVEL, newest);
        Self {
            compressor: Mutex::new(compressor.expect("a trained dictionary is always taken")),
        }
    }

    /// Packs a body.
    #[must_use]
    pub fn pack(&self, body: &[u8]) -> Vec<u8> {
        let mut compressor = self
            .compressor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        compressor
            .compress(body)
            .expect("compressing into a buffer of zstd's own bound cannot fail")
    }

    /// Unpacks a body, whichever dictionary it was packed with.
    ///
    /// # Errors
    ///
    /// See [`UnpackError`].
    pub fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let number = zstd::zstd_safe::get_dict_id_from_frame(packed).map_or(0, u32::from);
        let dictionary = match DICTIONARIES.iter().find(|(known, _)| *known == number) {
            Some((_, dictionary)) => dictionary,
            None if number == 0 => &[][..],
            None => return Err(UnpackError::UnknownDictionary(number)),
        };
        let mut decompressor =
            Decompressor::with_dictionary(dictionary).map_err(|_| UnpackError::Damaged)?;
        let unpacked = decompressor.decompress(packed, UNPACKED_BYTES_MAX);
        unpacked.map_err(|_| UnpackError::Damaged)
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_comes_back_byte_for_byte() {
        let codec = Codec::new();
        let bodies: [&[u8]; 5] = [
            b"",
            b"{}",
            b"\xff\x00",
            &[b'x'; BODY_BYTES_MAX],
            br#"{"id":"evt_1","object":"event"}"#,
        ];
        for body in bodies {
            assert_eq!(codec.unpack(&codec.pack(body)).as_deref(), Ok(body));
        }
    }

    #[test]
    fn a_frame_names_its_dictionary_and_old_frames_stay_readable() {
        let codec = Codec::new();
        let packed = codec.pack(b"{}");
        let number = zstd::zstd_safe::get_dict_id_from_frame(&packed).map(u32::from);
        assert_eq!(number, DICTIONARIES.last().map(|(number, _)| *number));
        for (number, dictionary) in DICTIONARIES {
            let mut old = Compressor::with_dictionary(3, dictionary).expect("a dictionary");
            let packed = old.compress(b"an old record").expect("packed");
            assert_eq!(
                codec.unpack(&packed).as_deref(),
                Ok(&b"an old record"[..]),
                "{number}"
            );
        }
        let plain = zstd::bulk::compress(b"no dictionary", 3).expect("packed");
        assert_eq!(codec.unpack(&plain).as_deref(), Ok(&b"no dictionary"[..]));
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let codec = Codec::new();
        let mut foreign = DICTIONARIES[0].1.to_vec();
        foreign[4..8].copy_from_slice(&77_u32.to_le_bytes());
        let mut newer = Compressor::with_dictionary(3, &foreign).expect("a dictionary");
        let packed = newer.compress(b"from the future").expect("packed");
        assert_eq!(
            codec.unpack(&packed),
            Err(UnpackError::UnknownDictionary(77))
        );
        assert_eq!(codec.unpack(b"garbage"), Err(UnpackError::Damaged));
    }
}
