//! Texts with variables that stand for the device.

use std::fmt;
use std::sync::Arc;

/// A text that may hold `{endpoint}`, `{name}`, `{serial}` and `{host}`. Other braces stand for themselves.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Arc<str>);

/// What the variables stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateValues<'a> {
    /// The endpoint name.
    pub endpoint: &'a str,
    /// The operator's name for the device, else the endpoint name.
    pub name: &'a str,
    /// The address under which the device reached this gateway, as it stands in a URI; `None`: unknown.
    pub host: Option<&'a str>,
}

impl TemplateValues<'_> {
    /// What is left of an endpoint name without its scheme: behind the last colon of a URN, and there behind the last
    /// dash of `urn:dev:ops:` (RFC 9039 section 4.5); the whole name if it is none.
    fn serial(&self) -> &str {
        let Some((scheme, serial)) = self.endpoint.rsplit_once(':') else { return self.endpoint };
        match serial.rsplit_once('-') {
            Some((_, last)) if scheme.eq_ignore_ascii_case("urn:dev:ops") && !last.is_empty() => last,
            _ if serial.is_empty() => self.endpoint,
            _ => serial,
        }
    }
}

impl Template {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it holds `{host}`.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        self.0.contains("{host}")
    }

    /// Whether it is the same for all devices.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        !["{endpoint}", "{name}", "{serial}"].iter().any(|variable| self.0.contains(variable))
    }

    /// The text for one device; `None` if it needs the host and that is unknown. What a value holds is not looked at again.
    #[must_use]
    pub fn fill(&self, values: &TemplateValues<'_>) -> Option<String> {
        let mut filled = String::with_capacity(self.0.len());
        let mut rest = &*self.0;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            let known = [
                ("{endpoint}", Some(values.endpoint)),
                ("{name}", Some(values.name)),
                ("{serial}", Some(values.serial())),
                ("{host}", values.host),
            ];
            if let Some((variable, value)) = known.into_iter().find(|(variable, _)| from.starts_with(variable)) {
                filled.push_str(value?);
                rest = from.get(variable.len()..).unwrap_or_default();
            } else {
                filled.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
        filled.push_str(rest);
        Some(filled)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, endpoint: &str, host: Option<&str>) -> Option<String> {
        Template::new(text).fill(&TemplateValues { endpoint, name: "pump {host}", host })
    }

    #[test]
    fn variables_stand_for_the_device_and_other_braces_for_themselves() {
        let filled = fill("{endpoint}/{name}/{serial}/{x}{", "urn:imei:123", None);
        assert_eq!(filled.as_deref(), Some("urn:imei:123/pump {host}/123/{x}{"));
        assert_eq!(fill("coap://{host}:5683", "a", Some("[::1]")).as_deref(), Some("coap://[::1]:5683"));
        assert_eq!(fill("coap://{host}:5683", "a", None), None);
    }

    #[test]
    fn a_serial_is_what_a_urn_ends_with() {
        for (endpoint, serial) in [
            ("node-1", "node-1"),
            ("urn:dev:ops:32473-Router-5-100", "100"),
            ("urn:esn:0a-1", "0a-1"),
            ("urn:dev:", "urn:dev:"),
        ] {
            assert_eq!(fill("{serial}", endpoint, None).as_deref(), Some(serial), "{endpoint}");
        }
    }
}
