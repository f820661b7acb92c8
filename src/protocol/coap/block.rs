//! The value of the Block1 and Block2 options (RFC 7959 section 2.2), with the larger blocks of reliable transports
//! (BERT, RFC 8323 section 6).

/// Number, continuation and size of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Position in units of the block size, at most 2^20 − 1.
    pub number: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// Size exponent, 0 to 6: the size is 2^(exponent + 4) bytes. 7, over reliable transports only: any number of blocks
    /// of 1,024 bytes at once.
    pub size_exponent: u8,
}

/// A block option that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More than three bytes.
    #[error("a block option has at most 3 bytes")]
    TooLong,
    /// Size exponent 7, which is reserved on UDP.
    #[error("block size exponent 7 is reserved")]
    ReservedSize,
}

impl Block {
    /// The largest exponent: 1,024 bytes.
    pub const MAX_SIZE_EXPONENT: u8 = 6;
    /// The exponent of BERT.
    pub const BERT_EXPONENT: u8 = 7;
    /// The largest block number.
    pub const MAX_NUMBER: u32 = (1 << 20) - 1;

    /// Reads an option value of zero to three bytes.
    ///
    /// # Errors
    /// For longer values and for the reserved size.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let block = Self::decode_reliable(bytes)?;
        if block.size_exponent > Self::MAX_SIZE_EXPONENT {
            return Err(BlockError::ReservedSize);
        }
        Ok(block)
    }

    /// The same where BERT is known: over reliable transports.
    ///
    /// # Errors
    /// For longer values.
    pub fn decode_reliable(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() > 3 {
            return Err(BlockError::TooLong);
        }
        let value = bytes.iter().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
        Ok(Self { number: value >> 4, more: value & 0b1000 != 0, size_exponent: (value & 0b111) as u8 })
    }

    /// The option value in its shortest form.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let value = self.number << 4 | u32::from(self.more) << 3 | u32::from(self.size_exponent);
        super::message::encode_uint(value)
    }

    /// Size of a full block in bytes: 16 to 1,024.
    #[must_use]
    pub const fn size(self) -> usize {
        1 << (self.unit() + 4)
    }

    /// The exponent that numbers and offsets count by.
    const fn unit(self) -> u8 {
        if self.size_exponent > Self::MAX_SIZE_EXPONENT { Self::MAX_SIZE_EXPONENT } else { self.size_exponent }
    }

    /// Whether so many bytes can be the payload of this block: a full one unless it is the last.
    #[must_use]
    pub const fn fits(self, length: usize) -> bool {
        if self.size_exponent > Self::MAX_SIZE_EXPONENT {
            return !self.more || (length > 0 && length.is_multiple_of(self.size()));
        }
        if self.more { length == self.size() } else { length <= self.size() }
    }

    /// The number of the block of this size that begins at a position in the body.
    #[must_use]
    pub fn number_at(self, position: usize) -> u32 {
        u32::try_from(position >> (self.unit() + 4)).unwrap_or(Self::MAX_NUMBER)
    }

    /// Position of the block's first byte in the whole body.
    #[must_use]
    pub const fn offset(self) -> usize {
        self.number as usize * self.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8323_6_bert_counts_in_blocks_of_1_024_bytes() {
        let block = Block::decode_reliable(&[0x8f]).unwrap();
        assert_eq!((block.number, block.more, block.size_exponent), (8, true, Block::BERT_EXPONENT));
        assert_eq!((block.offset(), block.size(), block.number_at(24 * 1_024)), (8_192, 1_024, 24));
        assert_eq!(block.encode(), [0x8f]);
        for (length, fits) in [(0, false), (1_000, false), (1_024, true), (5_120, true)] {
            assert_eq!(block.fits(length), fits, "{length}");
        }
        assert!(Block { more: false, ..block }.fits(4_711));
    }

    #[test]
    fn rfc7959_2_2_block_values_round_trip() {
        for (number, more, size_exponent) in
            [(0, false, 0), (1, true, 6), (15, true, 2), (16, false, 6), (Block::MAX_NUMBER, true, 5)]
        {
            let block = Block { number, more, size_exponent };
            assert_eq!(Block::decode(&block.encode()), Ok(block));
        }
        assert_eq!(Block::decode(&[]), Ok(Block { number: 0, more: false, size_exponent: 0 }));
        assert_eq!(Block::decode(&[0x07]), Err(BlockError::ReservedSize));
        assert_eq!(Block::decode_reliable(&[0, 0, 0, 0x07]), Err(BlockError::TooLong));
        assert_eq!(Block::decode(&[0, 0, 0, 1]), Err(BlockError::TooLong));
    }
}
