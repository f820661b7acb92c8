//! Cipher suites of the LwM2M security modes (Core TS 1.2.2, Transport section 5.2; RFC 6655, 7251, 5487, 5289).

use std::fmt;

/// A cipher suite of TLS 1.2 that the gateway takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// The suite that every LwM2M device with a pre-shared key has.
    PskAes128Ccm8,
    /// The same with a tag of full length.
    PskAes128Ccm,
    /// AES-GCM.
    PskAes128GcmSha256,
    /// A must for servers, advised against for devices.
    PskAes128CbcSha256,
    /// With forward secrecy.
    EcdhePskAes128CbcSha256,
    /// The suite that every LwM2M device with a certificate or raw public key has.
    EcdheEcdsaAes128Ccm8,
    /// The same with a tag of full length.
    EcdheEcdsaAes128Ccm,
    /// AES-GCM.
    EcdheEcdsaAes128GcmSha256,
    /// A must for servers.
    EcdheEcdsaAes128CbcSha256,
}

/// How records are protected after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// AES-128-CCM with a tag of 8 bytes.
    Ccm8,
    /// AES-128-CCM with a tag of 16 bytes.
    Ccm,
    /// AES-128-GCM.
    Gcm,
    /// AES-128-CBC with HMAC-SHA-256: left to the TLS library, whose code for it runs in constant time.
    Cbc,
}

impl Suite {
    /// All of them, in the order in which the gateway would choose.
    pub const ALL: [Self; 9] = [
        Self::PskAes128Ccm8,
        Self::PskAes128GcmSha256,
        Self::PskAes128Ccm,
        Self::PskAes128CbcSha256,
        Self::EcdhePskAes128CbcSha256,
        Self::EcdheEcdsaAes128Ccm8,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheEcdsaAes128Ccm,
        Self::EcdheEcdsaAes128CbcSha256,
    ];

    /// Number in the registry.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::PskAes128Ccm8 => 0xC0A8,
            Self::PskAes128Ccm => 0xC0A4,
            Self::PskAes128GcmSha256 => 0x00A8,
            Self::PskAes128CbcSha256 => 0x00AE,
            Self::EcdhePskAes128CbcSha256 => 0xC037,
            Self::EcdheEcdsaAes128Ccm8 => 0xC0AE,
            Self::EcdheEcdsaAes128Ccm => 0xC0AC,
            Self::EcdheEcdsaAes128GcmSha256 => 0xC02B,
            Self::EcdheEcdsaAes128CbcSha256 => 0xC023,
        }
    }

    /// The suite of a number.
    #[must_use]
    pub fn of_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    /// Name in the registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PskAes128Ccm8 => "TLS_PSK_WITH_AES_128_CCM_8",
            Self::PskAes128Ccm => "TLS_PSK_WITH_AES_128_CCM",
            Self::PskAes128GcmSha256 => "TLS_PSK_WITH_AES_128_GCM_SHA256",
            Self::PskAes128CbcSha256 => "TLS_PSK_WITH_AES_128_CBC_SHA256",
            Self::EcdhePskAes128CbcSha256 => "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256",
            Self::EcdheEcdsaAes128Ccm8 => "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
            Self::EcdheEcdsaAes128Ccm => "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
            Self::EcdheEcdsaAes128GcmSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheEcdsaAes128CbcSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        }
    }

    /// How records are protected.
    #[must_use]
    pub const fn protection(self) -> Protection {
        match self {
            Self::PskAes128Ccm8 | Self::EcdheEcdsaAes128Ccm8 => Protection::Ccm8,
            Self::PskAes128Ccm | Self::EcdheEcdsaAes128Ccm => Protection::Ccm,
            Self::PskAes128GcmSha256 | Self::EcdheEcdsaAes128GcmSha256 => Protection::Gcm,
            Self::PskAes128CbcSha256 | Self::EcdhePskAes128CbcSha256 | Self::EcdheEcdsaAes128CbcSha256 => {
                Protection::Cbc
            }
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A suite as a client offered it, for the log: its name, or its number in hex.
#[must_use]
pub fn shown_suite(id: u16) -> String {
    Suite::of_id(id).map_or_else(|| format!("0x{id:04x}"), |suite| suite.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_found_by_its_number() {
        for suite in Suite::ALL {
            assert_eq!(Suite::of_id(suite.id()), Some(suite));
        }
        assert_eq!(Suite::of_id(0xC0A8), Some(Suite::PskAes128Ccm8));
        assert_eq!(shown_suite(0x1301), "0x1301");
    }
}
