//! CoRE link format (RFC 6690 section 2) as LwM2M devices write it: text to links, without meaning yet.
//!
//! [`parse`] takes what the RFC allows plus the deviations that devices in the field need: a blank after a comma, a
//! target without its leading slash, and the `lwm2m=1.0` of old Bootstrap-Discover answers that stands without a
//! target. [`parse_leniently`] also reads past blanks and empty elements and names each such deviation; registration
//! uses it, because a stray blank is no reason to lose a device. Whatever breaks the structure (a missing comma, an
//! open quote, an illegal target) is refused by both, and nothing of a refused text is returned.

use std::fmt;

/// The most links of one text. A registration of 100 objects with 16 instances each has 1,700.
pub const MAX_LINKS: usize = 4_096;

/// The most parameters of one link. Discover answers carry at most about a dozen.
pub const MAX_PARAMETERS: usize = 64;

/// One link: `</3303/0>;ver=1.1;empty`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What stands between `<` and `>`, percent-encoding kept. Empty for parameters that stand without a link.
    pub target: String,
    /// Names and values in order, quotes and escapes removed; `None` for a name alone.
    pub parameters: Vec<(String, Option<String>)>,
}

impl Link {
    /// The first value of a parameter; `None` if it is absent or has no value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(candidate, _)| candidate == name).and_then(|(_, value)| value.as_deref())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.target)?;
        for (name, value) in &self.parameters {
            match value {
                None => write!(f, ";{name}")?,
                Some(value) if !value.is_empty() && value.bytes().all(is_token_byte) => write!(f, ";{name}={value}")?,
                Some(value) => {
                    write!(f, ";{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))?;
                }
            }
        }
        Ok(())
    }
}

/// Why a text is no list of links. Positions are byte offsets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFormatError {
    /// A link must begin here.
    #[error("expected '<' at byte {0}")]
    ExpectedLink(usize),
    /// The `<` at this place has no `>`.
    #[error("the '<' at byte {0} has no '>'")]
    UnterminatedTarget(usize),
    /// The text between `<` and `>` is no path.
    #[error("{0:?} is no path that a link may point to")]
    InvalidTarget(String),
    /// Neither `,` nor `;` nor the end.
    #[error("expected ',' or ';' at byte {0}")]
    ExpectedSeparator(usize),
    /// A parameter without a name.
    #[error("expected the name of a parameter at byte {0}")]
    ExpectedName(usize),
    /// An `=` with nothing usable behind it.
    #[error("expected a value at byte {0}")]
    ExpectedValue(usize),
    /// The quote at this place is not closed.
    #[error("the quote at byte {0} is not closed")]
    UnterminatedQuote(usize),
    /// A control character between quotes.
    #[error("a control character at byte {0}")]
    ControlCharacter(usize),
    /// More than [`MAX_LINKS`].
    #[error("more than {MAX_LINKS} links")]
    TooManyLinks,
    /// More than [`MAX_PARAMETERS`] on one link.
    #[error("more than {MAX_PARAMETERS} parameters on one link")]
    TooManyParameters,
}

/// What [`parse_leniently`] read past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deviations {
    /// Blanks or line ends between the parts of links.
    pub blanks: bool,
    /// Two commas with nothing between them, or a comma at the begin or end.
    pub empty_elements: bool,
}

/// Reads a list of links; the empty text is the empty list.
///
/// # Errors
/// Says what was expected where, or which bound is exceeded.
pub fn parse(text: &str) -> Result<Vec<Link>, LinkFormatError> {
    Parser { text, position: 0, lenient: false, deviations: Deviations::default() }.links()
}

/// Reads a list of links past blanks and empty elements, and says whether there were any.
///
/// # Errors
/// As [`parse`], for everything but blanks and empty elements.
pub fn parse_leniently(text: &str) -> Result<(Vec<Link>, Deviations), LinkFormatError> {
    let mut parser = Parser { text, position: 0, lenient: true, deviations: Deviations::default() };
    let links = parser.links()?;
    Ok((links, parser.deviations))
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    lenient: bool,
    deviations: Deviations,
}

impl Parser<'_> {
    fn links(&mut self) -> Result<Vec<Link>, LinkFormatError> {
        let mut links = Vec::new();
        self.skip_blanks();
        if self.position == self.text.len() {
            return Ok(links);
        }
        loop {
            if !self.skip_empty_element() {
                if links.len() == MAX_LINKS {
                    return Err(LinkFormatError::TooManyLinks);
                }
                links.push(self.link(links.is_empty())?);
            }
            self.skip_blanks();
            match self.peek() {
                None => return Ok(links),
                Some(b',') => self.position += 1,
                Some(_) => return Err(LinkFormatError::ExpectedSeparator(self.position)),
            }
            self.skip_blanks_after_comma();
        }
    }

    fn link(&mut self, is_first: bool) -> Result<Link, LinkFormatError> {
        // LwM2M 1.0 began Bootstrap-Discover answers with the version of the enabler and no link around it.
        if is_first && self.rest().starts_with("lwm2m=") {
            let version = self.parameter()?;
            return Ok(Link { target: String::new(), parameters: vec![version] });
        }
        let target = self.target()?;
        let mut parameters = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() != Some(b';') {
                return Ok(Link { target, parameters });
            }
            self.position += 1;
            self.skip_blanks();
            if parameters.len() == MAX_PARAMETERS {
                return Err(LinkFormatError::TooManyParameters);
            }
            parameters.push(self.parameter()?);
        }
    }

    fn target(&mut self) -> Result<String, LinkFormatError> {
        let start = self.position;
        let inner = self.rest().strip_prefix('<').ok_or(LinkFormatError::ExpectedLink(start))?;
        let (target, _) = inner.split_once('>').ok_or(LinkFormatError::UnterminatedTarget(start))?;
        if !is_target(target) {
            return Err(LinkFormatError::InvalidTarget(target.chars().take(60).collect()));
        }
        let target = target.to_owned();
        self.position += target.len() + 2;
        Ok(target)
    }

    fn parameter(&mut self) -> Result<(String, Option<String>), LinkFormatError> {
        let name = self.run_of(is_name_byte);
        if name.is_empty() {
            return Err(LinkFormatError::ExpectedName(self.position));
        }
        self.skip_blanks();
        if self.peek() != Some(b'=') {
            return Ok((name, None));
        }
        self.position += 1;
        self.skip_blanks();
        if self.peek() == Some(b'"') {
            return Ok((name, Some(self.quoted()?)));
        }
        let value = self.run_of(is_token_byte);
        if value.is_empty() {
            return Err(LinkFormatError::ExpectedValue(self.position));
        }
        Ok((name, Some(value)))
    }

    fn quoted(&mut self) -> Result<String, LinkFormatError> {
        let start = self.position;
        let mut value = String::new();
        let mut escaped = false;
        for (offset, character) in self.rest().char_indices().skip(1) {
            if character.is_control() && character != '\t' {
                return Err(LinkFormatError::ControlCharacter(start + offset));
            }
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    self.position = start + offset + 1;
                    return Ok(value);
                }
                _ => {
                    escaped = false;
                    value.push(character);
                }
            }
        }
        Err(LinkFormatError::UnterminatedQuote(start))
    }

    fn skip_empty_element(&mut self) -> bool {
        let empty = self.lenient && matches!(self.peek(), None | Some(b','));
        self.deviations.empty_elements |= empty;
        empty
    }

    fn skip_blanks(&mut self) {
        if self.lenient {
            self.skip_blanks_after_comma();
        }
    }

    fn skip_blanks_after_comma(&mut self) {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.deviations.blanks |= blanks != 0;
        self.position += blanks;
    }

    fn run_of(&mut self, accepts: fn(u8) -> bool) -> String {
        let run: String = self.rest().chars().take_while(|&c| u8::try_from(c).is_ok_and(accepts)).collect();
        self.position += run.len();
        run
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.position..).unwrap_or_default()
    }
}

/// `parmname` of RFC 5987, with the `*` that marks extended values.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// `ptokenchar` of RFC 6690.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// A path of RFC 3986, absolute or without its leading slash: no scheme, authority, query or fragment.
fn is_target(target: &str) -> bool {
    let first_segment = target.split('/').next().unwrap_or_default();
    if target.is_empty() || target.starts_with("//") || first_segment.contains(':') {
        return false;
    }
    let mut bytes = target.bytes();
    while let Some(byte) = bytes.next() {
        let legal = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'/' | b':' | b'@' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !legal {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str, parameters: &[(&str, Option<&str>)]) -> Link {
        let owned = |&(name, value): &(&str, Option<&str>)| (name.to_owned(), value.map(ToOwned::to_owned));
        Link { target: target.to_owned(), parameters: parameters.iter().map(owned).collect() }
    }

    #[test]
    fn rfc6690_2_quotes_and_bare_names_are_read() {
        let links = parse(r#"</a>;q="x,y;\"z\"";bare,</b>;ct=40"#).unwrap();
        let expected = [link("/a", &[("q", Some(r#"x,y;"z""#)), ("bare", None)]), link("/b", &[("ct", Some("40"))])];
        assert_eq!(links, expected);
        assert_eq!(links[0].value("q"), Some(r#"x,y;"z""#));
        assert_eq!(links[0].value("bare"), None);
    }

    #[test]
    fn links_written_by_display_are_read_back() {
        let links =
            [link("/3/0", &[("ver", Some("1.1")), ("q", Some("a b\"\\")), ("empty", Some("")), ("bare", None)])];
        assert_eq!(parse(&links[0].to_string()).unwrap(), links);
    }

    #[test]
    fn errors_say_where() {
        for (text, error) in [
            ("</1>x", LinkFormatError::ExpectedSeparator(4)),
            ("</1>,", LinkFormatError::ExpectedLink(5)),
            ("</1>,,</2>", LinkFormatError::ExpectedLink(5)),
            ("</1", LinkFormatError::UnterminatedTarget(0)),
            ("<>", LinkFormatError::InvalidTarget(String::new())),
            ("<//host/1>", LinkFormatError::InvalidTarget("//host/1".to_owned())),
            ("</1>;a=\"b", LinkFormatError::UnterminatedQuote(7)),
            ("</1>;a=\"b\n\"", LinkFormatError::ControlCharacter(9)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn lenient_reading_passes_blanks_and_empty_elements_and_names_them() {
        let (links, deviations) = parse_leniently(" </1> ; a = \"b\" ,, </2> ,\r\n").unwrap();
        assert_eq!(links, [link("/1", &[("a", Some("b"))]), link("/2", &[])]);
        assert_eq!(deviations, Deviations { blanks: true, empty_elements: true });
        assert_eq!(parse_leniently("</1>,</2>").unwrap().1, Deviations::default());
        assert_eq!(parse_leniently("</1></2>"), Err(LinkFormatError::ExpectedSeparator(4)));
    }

    #[test]
    fn more_links_or_parameters_than_the_bound_are_refused() {
        let links = |count: usize| vec!["</1>"; count].join(",");
        assert_eq!(parse(&links(MAX_LINKS)).unwrap().len(), MAX_LINKS);
        assert_eq!(parse(&links(MAX_LINKS + 1)), Err(LinkFormatError::TooManyLinks));
        let parameters = |count: usize| format!("</1>{}", ";a".repeat(count));
        assert_eq!(parse(&parameters(MAX_PARAMETERS)).unwrap()[0].parameters.len(), MAX_PARAMETERS);
        assert_eq!(parse(&parameters(MAX_PARAMETERS + 1)), Err(LinkFormatError::TooManyParameters));
    }
}
