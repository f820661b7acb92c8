//! The value of the Block1 and Block2 options (RFC 7959 section 2.2).

/// Number, continuation and size of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Position in units of the block size, at most 2^20 − 1.
    pub number: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// Size exponent, 0 to 6: the size is 2^(exponent + 4) bytes.
    pub size_exponent: u8,
}

/// A block option that cannot be used over UDP.
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
    /// The largest block number.
    pub const MAX_NUMBER: u32 = (1 << 20) - 1;

    /// Reads an option value of zero to three bytes.
    ///
    /// # Errors
    /// For longer values and for the reserved size.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() > 3 {
            return Err(BlockError::TooLong);
        }
        let value = bytes.iter().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
        let size_exponent = (value & 0b111) as u8;
        if size_exponent > Self::MAX_SIZE_EXPONENT {
            return Err(BlockError::ReservedSize);
        }
        Ok(Self { number: value >> 4, more: value & 0b1000 != 0, size_exponent })
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
        1 << (self.size_exponent + 4)
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
    fn rfc7959_2_2_block_values_round_trip() {
        for (number, more, size_exponent) in
            [(0, false, 0), (1, true, 6), (15, true, 2), (16, false, 6), (Block::MAX_NUMBER, true, 5)]
        {
            let block = Block { number, more, size_exponent };
            assert_eq!(Block::decode(&block.encode()), Ok(block));
        }
        assert_eq!(Block::decode(&[]), Ok(Block { number: 0, more: false, size_exponent: 0 }));
        assert_eq!(Block::decode(&[0x07]), Err(BlockError::ReservedSize));
        assert_eq!(Block::decode(&[0, 0, 0, 1]), Err(BlockError::TooLong));
    }
}
