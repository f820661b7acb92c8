//! Signalling messages of reliable transports: capabilities, ping, release and abort (RFC 8323 section 5).
//!
//! Their options have number spaces of their own, by code. Elective options that are not known are ignored; a critical
//! one that is not known makes the message an error, and the reader has to abort the connection.

use super::message::{Code, Message, MessageType, Token, decode_uint, encode_uint};
use super::option::OptionNumber;

/// What a peer takes that said nothing else, in bytes (RFC 8323 section 5.3.1).
pub const BASE_MAX_MESSAGE_SIZE: u32 = 1_152;

const MAX_MESSAGE_SIZE: OptionNumber = OptionNumber(2);
const BLOCK_WISE_TRANSFER: OptionNumber = OptionNumber(4);
const CUSTODY: OptionNumber = OptionNumber(2);
const HOLD_OFF: OptionNumber = OptionNumber(4);
const BAD_CSM_OPTION: OptionNumber = OptionNumber(2);

/// Text of a diagnostic payload that is kept, in bytes.
const LONGEST_DIAGNOSTIC: usize = 200;

/// A signalling message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// 7.01: what the sender can and will do. Each one adds to those before it.
    Capabilities {
        /// The longest message that the sender takes, in bytes, if it says.
        max_message_size: Option<u32>,
        /// Whether it says that it knows RFC 7959.
        block_wise: bool,
    },
    /// 7.02: asks for a [`Signal::Pong`] with the same token.
    Ping {
        /// For the answer.
        token: Token,
        /// Whether the answer must wait until everything before it has been processed.
        custody: bool,
    },
    /// 7.03.
    Pong {
        /// That of the ping.
        token: Token,
        /// Whether everything before the ping has been processed.
        custody: bool,
    },
    /// 7.04: the receiver may close the connection once it has answered what it was asked.
    Release {
        /// Seconds in which the receiver should not connect again.
        hold_off: Option<u32>,
    },
    /// 7.05: the sender closes the connection now.
    Abort {
        /// The option of a [`Signal::Capabilities`] that could not be used.
        bad_csm_option: Option<u16>,
        /// Why, for people.
        diagnostic: String,
    },
}

/// Why a signalling message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// A critical option that is not known.
    #[error("critical option {} in {code}", .number.0)]
    CriticalOption {
        /// The kind of message.
        code: Code,
        /// The option.
        number: OptionNumber,
    },
    /// A value that the option cannot have.
    #[error("the value of option {} in {code} cannot be used", .number.0)]
    BadValue {
        /// The kind of message.
        code: Code,
        /// The option.
        number: OptionNumber,
    },
}

impl SignalError {
    /// The option to name in an Abort: only those of capabilities are named (RFC 8323 section 5.6).
    #[must_use]
    pub fn bad_csm_option(self) -> Option<u16> {
        let (Self::CriticalOption { code, number } | Self::BadValue { code, number }) = self;
        (code == Code::CSM).then_some(number.0)
    }
}

impl Signal {
    /// Reads a message of class 7; `None` for a code that no document defines, which is ignored.
    ///
    /// # Errors
    /// For critical options that are not known, and for values that an option cannot have.
    pub fn read(message: &Message) -> Result<Option<Self>, SignalError> {
        let code = message.code;
        // All options that are defined are elective, with even numbers.
        if let Some((number, _)) = message.options.iter().find(|(number, _)| number.is_critical()) {
            return Err(SignalError::CriticalOption { code, number: *number });
        }
        let uint = |number, most: usize| match message.option(number) {
            Some(value) if value.len() > most => Err(SignalError::BadValue { code, number }),
            value => Ok(value.and_then(decode_uint)),
        };
        let custody = message.option(CUSTODY).is_some();
        Ok(Some(match code {
            Code::CSM => Self::Capabilities {
                max_message_size: uint(MAX_MESSAGE_SIZE, 4)?,
                block_wise: message.option(BLOCK_WISE_TRANSFER).is_some(),
            },
            Code::PING => Self::Ping { token: message.token, custody },
            Code::PONG => Self::Pong { token: message.token, custody },
            Code::RELEASE => Self::Release { hold_off: uint(HOLD_OFF, 3).unwrap_or_default() },
            Code::ABORT => {
                let text = message.payload.get(..LONGEST_DIAGNOSTIC).unwrap_or(&message.payload);
                Self::Abort {
                    bad_csm_option: uint(BAD_CSM_OPTION, 2)
                        .unwrap_or_default()
                        .and_then(|number| u16::try_from(number).ok()),
                    diagnostic: String::from_utf8_lossy(text).into_owned(),
                }
            }
            _ => return Ok(None),
        }))
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        let new = |code, token| Message::new(MessageType::NonConfirmable, code, 0, token);
        match self {
            Self::Capabilities { max_message_size, block_wise } => {
                let mut message = new(Code::CSM, Token::EMPTY);
                if let Some(size) = max_message_size {
                    message.push_option(MAX_MESSAGE_SIZE, encode_uint(*size));
                }
                if *block_wise {
                    message.push_option(BLOCK_WISE_TRANSFER, []);
                }
                message
            }
            Self::Ping { token, custody } | Self::Pong { token, custody } => {
                let code = if matches!(self, Self::Ping { .. }) { Code::PING } else { Code::PONG };
                let mut message = new(code, *token);
                if *custody {
                    message.push_option(CUSTODY, []);
                }
                message
            }
            Self::Release { hold_off } => {
                let mut message = new(Code::RELEASE, Token::EMPTY);
                if let Some(seconds) = hold_off {
                    message.push_option(HOLD_OFF, encode_uint((*seconds).min(0x00ff_ffff)));
                }
                message
            }
            Self::Abort { bad_csm_option, diagnostic } => {
                let mut message = new(Code::ABORT, Token::EMPTY);
                if let Some(number) = bad_csm_option {
                    message.push_option(BAD_CSM_OPTION, encode_uint(u32::from(*number)));
                }
                message.payload = diagnostic.clone().into_bytes();
                message
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tcp_frame;
    use super::*;

    fn round_trip(signal: &Signal) -> Signal {
        let frame = tcp_frame::encode(&signal.message());
        let (message, length) = tcp_frame::decode(&frame, 1_000).unwrap().unwrap();
        assert_eq!(length, frame.len());
        Signal::read(&message).unwrap().unwrap()
    }

    #[test]
    fn rfc8323_5_4_the_examples_of_ping_and_pong_are_written() {
        let token = Token::new(&[0x42]).unwrap();
        assert_eq!(tcp_frame::encode(&Signal::Ping { token, custody: false }.message()), [0x01, 0xe2, 0x42]);
        assert_eq!(tcp_frame::encode(&Signal::Pong { token, custody: false }.message()), [0x01, 0xe3, 0x42]);
    }

    #[test]
    fn signals_survive_the_wire() {
        let token = Token::new(&[1, 2]).unwrap();
        for signal in [
            Signal::Capabilities { max_message_size: None, block_wise: false },
            Signal::Capabilities { max_message_size: Some(0), block_wise: true },
            Signal::Capabilities { max_message_size: Some(5_241_877), block_wise: false },
            Signal::Ping { token, custody: true },
            Signal::Pong { token, custody: true },
            Signal::Release { hold_off: Some(3_600) },
            Signal::Release { hold_off: None },
            Signal::Abort { bad_csm_option: Some(9), diagnostic: "option 9".to_owned() },
            Signal::Abort { bad_csm_option: None, diagnostic: String::new() },
        ] {
            assert_eq!(round_trip(&signal), signal);
        }
    }

    #[test]
    fn rfc8323_5_2_elective_options_that_are_not_known_are_ignored_and_critical_ones_are_errors() {
        let mut capabilities = Signal::Capabilities { max_message_size: Some(2_000), block_wise: true }.message();
        capabilities.push_option(OptionNumber(66), [1, 2, 3, 4, 5, 6]);
        assert!(matches!(Signal::read(&capabilities), Ok(Some(Signal::Capabilities { .. }))));
        capabilities.push_option(OptionNumber(67), []);
        let error = Signal::read(&capabilities).unwrap_err();
        assert_eq!(error, SignalError::CriticalOption { code: Code::CSM, number: OptionNumber(67) });
        assert_eq!(error.bad_csm_option(), Some(67));
        let mut ping = Signal::Ping { token: Token::EMPTY, custody: false }.message();
        ping.push_option(OptionNumber(1), []);
        assert_eq!(Signal::read(&ping).unwrap_err().bad_csm_option(), None);
    }

    #[test]
    fn rfc8323_5_6_a_size_of_more_than_four_bytes_is_a_bad_value() {
        let mut capabilities = Signal::Capabilities { max_message_size: None, block_wise: false }.message();
        capabilities.push_option(OptionNumber(2), [0, 0, 0, 1, 0]);
        assert_eq!(Signal::read(&capabilities).unwrap_err().bad_csm_option(), Some(2));
    }

    #[test]
    fn codes_that_no_document_defines_are_no_signals() {
        let unknown = Message::new(MessageType::NonConfirmable, Code::new(7, 9), 0, Token::EMPTY);
        assert_eq!(Signal::read(&unknown), Ok(None));
    }
}
