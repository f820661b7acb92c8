//! CoAP option numbers and their rules (RFC 7252 section 5.10 and the registries that extend it).

/// An option number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionNumber(pub u16);

impl OptionNumber {
    /// Conditional request by entity tag.
    pub const IF_MATCH: Self = Self(1);
    /// Virtual host.
    pub const URI_HOST: Self = Self(3);
    /// Entity tag.
    pub const ETAG: Self = Self(4);
    /// Only if nothing exists.
    pub const IF_NONE_MATCH: Self = Self(5);
    /// RFC 7641.
    pub const OBSERVE: Self = Self(6);
    /// Port of the request.
    pub const URI_PORT: Self = Self(7);
    /// One segment of the path of a created resource.
    pub const LOCATION_PATH: Self = Self(8);
    /// One segment of the request path.
    pub const URI_PATH: Self = Self(11);
    /// Format of the payload.
    pub const CONTENT_FORMAT: Self = Self(12);
    /// Seconds of freshness.
    pub const MAX_AGE: Self = Self(14);
    /// One argument of the request query.
    pub const URI_QUERY: Self = Self(15);
    /// Wanted format of the answer.
    pub const ACCEPT: Self = Self(17);
    /// One argument of the query of a created resource.
    pub const LOCATION_QUERY: Self = Self(20);
    /// Block of the answer, RFC 7959.
    pub const BLOCK2: Self = Self(23);
    /// Block of the request, RFC 7959.
    pub const BLOCK1: Self = Self(27);
    /// Size of the answer.
    pub const SIZE2: Self = Self(28);
    /// Size of the request.
    pub const SIZE1: Self = Self(60);
    /// RFC 9175.
    pub const ECHO: Self = Self(252);
    /// RFC 7967.
    pub const NO_RESPONSE: Self = Self(258);
    /// RFC 9175.
    pub const REQUEST_TAG: Self = Self(292);

    /// Whether a peer that does not know the option must refuse the message (RFC 7252 section 5.4.6).
    #[must_use]
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }

    /// The lengths in bytes that the option may have, if it is known here.
    #[must_use]
    pub const fn length_bounds(self) -> Option<(usize, usize)> {
        Some(match self {
            Self::IF_MATCH | Self::REQUEST_TAG => (0, 8),
            Self::URI_HOST => (1, 255),
            Self::ETAG => (1, 8),
            Self::IF_NONE_MATCH => (0, 0),
            Self::OBSERVE | Self::BLOCK1 | Self::BLOCK2 => (0, 3),
            Self::URI_PORT | Self::CONTENT_FORMAT | Self::ACCEPT => (0, 2),
            Self::LOCATION_PATH | Self::URI_PATH | Self::URI_QUERY | Self::LOCATION_QUERY => (0, 255),
            Self::MAX_AGE | Self::SIZE1 | Self::SIZE2 => (0, 4),
            Self::ECHO => (1, 40),
            Self::NO_RESPONSE => (0, 1),
            _ => return None,
        })
    }

    /// Whether the option may stand more than once.
    #[must_use]
    pub const fn is_repeatable(self) -> bool {
        matches!(
            self,
            Self::IF_MATCH
                | Self::ETAG
                | Self::LOCATION_PATH
                | Self::URI_PATH
                | Self::URI_QUERY
                | Self::LOCATION_QUERY
                | Self::REQUEST_TAG
        )
    }
}
