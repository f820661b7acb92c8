//! The arguments of Execute (Core TS 1.2.2 section 6.3.5): `5`, `0='U'`, `3='text',4`.
//!
//! A list of digits, each at most once, each with a quoted value or none. Blanks inside the quotes are outside the
//! grammar of the standard and inside that of every known device, so they are taken.

use std::fmt;

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// 0 to 9.
    pub digit: u8,
    /// What stands between the quotes; `None` for a digit alone.
    pub value: Option<String>,
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}='{value}'", self.digit),
            None => write!(f, "{}", self.digit),
        }
    }
}

/// Why a text is no list of arguments. Positions are byte offsets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteArgumentsError {
    /// An argument must begin here.
    #[error("expected a digit at byte {0}")]
    ExpectedDigit(usize),
    /// Neither `,` nor the end, nor `=` after a digit.
    #[error("expected ',' or the end at byte {0}")]
    ExpectedComma(usize),
    /// The value does not begin with a quote.
    #[error("expected ' at byte {0}: values stand in single quotes")]
    ExpectedQuote(usize),
    /// The quote at this place is not closed.
    #[error("the quote at byte {0} is not closed")]
    UnterminatedQuote(usize),
    /// A character that no value may hold: a double quote, a backslash, a control or non-ASCII character.
    #[error("{0:?} may not stand in a value")]
    ForbiddenCharacter(char),
    /// The same digit twice.
    #[error("argument {0} stands twice")]
    Duplicate(u8),
}

/// Reads an argument list; the empty text is the empty list. At most ten arguments exist.
///
/// # Errors
/// Says what was expected where.
pub fn parse(text: &str) -> Result<Vec<Argument>, ExecuteArgumentsError> {
    let mut arguments: Vec<Argument> = Vec::new();
    let mut rest = text;
    let position = |rest: &str| text.len() - rest.len();
    if text.is_empty() {
        return Ok(arguments);
    }
    loop {
        let (digit, after) = match rest.chars().next() {
            Some(first @ '0'..='9') => (first as u8 - b'0', rest.get(1..).unwrap_or_default()),
            _ => return Err(ExecuteArgumentsError::ExpectedDigit(position(rest))),
        };
        rest = after;
        if arguments.iter().any(|argument| argument.digit == digit) {
            return Err(ExecuteArgumentsError::Duplicate(digit));
        }
        let mut value = None;
        if let Some(assigned) = rest.strip_prefix('=') {
            let quoted = assigned.strip_prefix('\'').ok_or(ExecuteArgumentsError::ExpectedQuote(position(assigned)))?;
            let (content, after) =
                quoted.split_once('\'').ok_or(ExecuteArgumentsError::UnterminatedQuote(position(assigned)))?;
            if let Some(forbidden) = content.chars().find(|&character| !is_allowed(character)) {
                return Err(ExecuteArgumentsError::ForbiddenCharacter(forbidden));
            }
            value = Some(content.to_owned());
            rest = after;
        }
        arguments.push(Argument { digit, value });
        if rest.is_empty() {
            return Ok(arguments);
        }
        rest = rest.strip_prefix(',').ok_or(ExecuteArgumentsError::ExpectedComma(position(rest)))?;
    }
}

/// Whether a value may hold this character: the standard's CHAR, and the blank.
const fn is_allowed(character: char) -> bool {
    matches!(character, ' ' | '!' | '#'..='&' | '('..='[' | ']'..='~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_6_3_5_lists_are_read_and_written_alike() {
        for text in ["5", "0,1,2", "3='stringValue',4", "3=''", "7,0=' <https://example.org>'", "0,1,2,3,4,5,6,7,8,9"] {
            let arguments = parse(text).unwrap();
            assert_eq!(arguments.iter().map(ToString::to_string).collect::<Vec<_>>().join(","), text);
        }
        assert_eq!(parse("0='U'").unwrap(), [Argument { digit: 0, value: Some("U".to_owned()) }]);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn errors_say_what_was_expected_where() {
        for (text, error) in [
            ("a", ExecuteArgumentsError::ExpectedDigit(0)),
            (",3", ExecuteArgumentsError::ExpectedDigit(0)),
            ("3,", ExecuteArgumentsError::ExpectedDigit(2)),
            ("٣", ExecuteArgumentsError::ExpectedDigit(0)),
            ("10='a'", ExecuteArgumentsError::ExpectedComma(1)),
            ("3'a'", ExecuteArgumentsError::ExpectedComma(1)),
            ("3='a'4", ExecuteArgumentsError::ExpectedComma(5)),
            ("3=a", ExecuteArgumentsError::ExpectedQuote(2)),
            ("3=", ExecuteArgumentsError::ExpectedQuote(2)),
            ("3='a", ExecuteArgumentsError::UnterminatedQuote(2)),
            ("3='a\\b'", ExecuteArgumentsError::ForbiddenCharacter('\\')),
            ("3='a\"b'", ExecuteArgumentsError::ForbiddenCharacter('"')),
            ("3='é'", ExecuteArgumentsError::ForbiddenCharacter('é')),
            ("3='\n'", ExecuteArgumentsError::ForbiddenCharacter('\n')),
            ("4,4", ExecuteArgumentsError::Duplicate(4)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
