//! The binding parameter `b` (Core TS 1.2.2 section 6.2.1): by which transports a device can be reached.

/// The transports of a device, as it listed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of letters, each of which is there or not")]
pub struct Binding {
    /// The letters as the device wrote them.
    pub text: String,
    /// `U`.
    pub udp: bool,
    /// `T`, since 1.1.
    pub tcp: bool,
    /// `S`.
    pub sms: bool,
    /// `N`, since 1.1.
    pub non_ip: bool,
    /// `M`, since 1.2.
    pub mqtt: bool,
    /// `H`, since 1.2.
    pub http: bool,
    /// `Q`, which only 1.0 writes among the letters; devices of later versions do so too.
    pub queue: bool,
}

impl Binding {
    /// Whether messages reach the device by SMS alone.
    #[must_use]
    pub const fn is_only_sms(&self) -> bool {
        self.sms && !(self.udp || self.tcp || self.non_ip || self.mqtt || self.http)
    }
}

/// A text that is no set of binding letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no set of the binding letters U, T, S, N, M, H and Q")]
pub struct BindingError(pub String);

impl std::str::FromStr for Binding {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, BindingError> {
        let mut binding = Self { text: text.to_owned(), ..Self::default() };
        let refuse = || BindingError(text.chars().take(20).collect());
        for letter in text.bytes() {
            let flag = match letter {
                b'U' => &mut binding.udp,
                b'T' => &mut binding.tcp,
                b'S' => &mut binding.sms,
                b'N' => &mut binding.non_ip,
                b'M' => &mut binding.mqtt,
                b'H' => &mut binding.http,
                b'Q' => &mut binding.queue,
                _ => return Err(refuse()),
            };
            if std::mem::replace(flag, true) {
                return Err(refuse());
            }
        }
        let Self { udp, tcp, sms, non_ip, mqtt, http, .. } = binding;
        if udp || tcp || sms || non_ip || mqtt || http { Ok(binding) } else { Err(refuse()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_any_order_are_transports() {
        let binding: Binding = "UQS".parse().unwrap();
        assert!(binding.udp && binding.queue && binding.sms && !binding.tcp && !binding.non_ip);
        assert!(!binding.is_only_sms() && "SQ".parse::<Binding>().unwrap().is_only_sms());
        let binding: Binding = "NT".parse().unwrap();
        assert!(binding.non_ip && binding.tcp && !binding.udp && !binding.queue);
        assert_eq!(binding.text, "NT");
    }

    #[test]
    fn unknown_repeated_or_missing_transports_are_refused() {
        for text in ["", "Q", "X", "u", "UU", "U Q", "ÜU"] {
            assert_eq!(text.parse::<Binding>(), Err(BindingError(text.to_owned())));
        }
    }
}
