//! Texts with `{placeholders}`: keys of values, topics, payloads, arguments.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::model::path::Path;
use crate::model::report::DeviceFacts;

/// Longest template, in bytes.
pub(super) const MAX_TEMPLATE_BYTES: usize = 1_024;

/// The placeholders that every device and path has.
pub(super) const PATH_PLACEHOLDERS: [&str; 6] =
    ["instance", "resource_instance", "object", "resource", "endpoint", "device"];

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text that stays.
    Literal(String),
    /// The name within braces.
    Placeholder(String),
}

/// Splits a text at its placeholders.
///
/// # Errors
/// In words, for braces that do not pair and for empty names.
pub(super) fn split(text: &str) -> Result<Vec<Part>, String> {
    if text.len() > MAX_TEMPLATE_BYTES {
        return Err(format!("the text has {} bytes, more than {MAX_TEMPLATE_BYTES}", text.len()));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (literal, tail) = rest.split_at(open);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        let inside = tail.strip_prefix('{').ok_or_else(|| format!("'}}' without '{{' in \"{text}\""))?;
        let (name, after) = inside.split_once('}').ok_or_else(|| format!("'{{' without '}}' in \"{text}\""))?;
        let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            return Err(format!("'{{{name}}}' in \"{text}\" is no placeholder"));
        }
        parts.push(Part::Placeholder(name.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// What a placeholder of a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Instance,
    ResourceInstance,
    Object,
    Resource,
    Endpoint,
    Device,
}

impl Field {
    /// The field of a placeholder's name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "instance" => Self::Instance,
            "resource_instance" => Self::ResourceInstance,
            "object" => Self::Object,
            "resource" => Self::Resource,
            "endpoint" => Self::Endpoint,
            "device" => Self::Device,
            _ => return None,
        })
    }

    /// The position in a path of what it stands for.
    fn position(self) -> Option<usize> {
        match self {
            Self::Object => Some(0),
            Self::Instance => Some(1),
            Self::Resource => Some(2),
            Self::ResourceInstance => Some(3),
            Self::Endpoint | Self::Device => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyPart {
    Literal(Box<str>),
    Field(Field),
}

/// The template of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyTemplate {
    text: Arc<str>,
    parts: Vec<KeyPart>,
}

impl KeyTemplate {
    /// Compiles the template of a key.
    ///
    /// # Errors
    /// In words, for an empty text, braces that do not pair and unknown placeholders.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the key is empty".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("the key holds a control character".to_owned());
        }
        let parts = split(text)?
            .into_iter()
            .map(|part| match part {
                Part::Literal(literal) => Ok(KeyPart::Literal(literal.into())),
                Part::Placeholder(name) => match Field::of(&name) {
                    Some(field) => Ok(KeyPart::Field(field)),
                    None => Err(format!("'{{{name}}}' in \"{text}\" is no placeholder of a key")),
                },
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.into(), parts })
    }

    /// The template as written.
    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether a placeholder is in it.
    pub(super) fn has(&self, field: Field) -> bool {
        self.parts.contains(&KeyPart::Field(field))
    }

    /// The key of a path of a device. `suffix` is appended as `_N`. What the path does not have is 0.
    pub(super) fn fill(&self, path: &Path, facts: &DeviceFacts, suffix: Option<u16>) -> String {
        let mut key = String::with_capacity(self.text.len() + 8);
        for part in &self.parts {
            match part {
                KeyPart::Literal(literal) => key.push_str(literal),
                KeyPart::Field(Field::Endpoint) => key.push_str(&facts.endpoint),
                KeyPart::Field(Field::Device) => key.push_str(&facts.device),
                KeyPart::Field(field) => {
                    let id = field.position().and_then(|position| path.ids().get(position)).copied().unwrap_or(0);
                    let _ = write!(key, "{id}");
                }
            }
        }
        if let Some(suffix) = suffix {
            let _ = write!(key, "_{suffix}");
        }
        key
    }

    /// The identifiers that the placeholders must have had to make `key`; `None` if no identifiers make it.
    pub(super) fn captures(&self, key: &str, facts: &DeviceFacts) -> Option<[Option<u16>; 4]> {
        capture(&self.parts, key, facts, [None; 4])
    }
}

/// Depth is the number of parts, which the length of a template bounds.
fn capture(parts: &[KeyPart], text: &str, facts: &DeviceFacts, ids: [Option<u16>; 4]) -> Option<[Option<u16>; 4]> {
    let Some((part, parts)) = parts.split_first() else { return text.is_empty().then_some(ids) };
    match part {
        KeyPart::Literal(literal) => capture(parts, text.strip_prefix(&**literal)?, facts, ids),
        KeyPart::Field(Field::Endpoint) => capture(parts, text.strip_prefix(facts.endpoint.as_str())?, facts, ids),
        KeyPart::Field(Field::Device) => capture(parts, text.strip_prefix(facts.device.as_str())?, facts, ids),
        KeyPart::Field(field) => {
            let digits = text.bytes().take(5).take_while(u8::is_ascii_digit).count();
            // The longest number first; a shorter one only if the rest does not fit otherwise.
            (1..=digits).rev().find_map(|length| {
                let (number, rest) = text.split_at_checked(length)?;
                let id: u16 = number.parse().ok()?;
                let position = field.position()?;
                let slot = *ids.get(position)?;
                let canonical = number == "0" || !number.starts_with('0');
                if !canonical || slot.is_some_and(|known| known != id) {
                    return None;
                }
                let mut ids = ids;
                *ids.get_mut(position)? = Some(id);
                capture(parts, rest, facts, ids)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> DeviceFacts {
        DeviceFacts { endpoint: "urn:1".into(), device: "roof".into(), ..DeviceFacts::default() }
    }

    #[test]
    fn placeholders_are_filled_from_path_and_device() {
        let template =
            KeyTemplate::compile("{device}/{endpoint}/{object}_{instance}_{resource}_{resource_instance}").unwrap();
        let path = Path::resource_instance(3, 0, 7, 2);
        assert_eq!(template.fill(&path, &facts(), None), "roof/urn:1/3_0_7_2");
        assert_eq!(KeyTemplate::compile("error").unwrap().fill(&path, &facts(), Some(2)), "error_2");
    }

    #[test]
    fn a_key_tells_the_identifiers_it_was_made_of() {
        let template = KeyTemplate::compile("t_{instance}_{resource}").unwrap();
        assert_eq!(template.captures("t_12_5700", &facts()), Some([None, Some(12), Some(5700), None]));
        for key in ["t_12", "t_012_5700", "t_12_5700x", "u_12_5700", "t_65536_1"] {
            assert_eq!(template.captures(key, &facts()), None, "{key}");
        }
        let twice = KeyTemplate::compile("{instance}-{instance}").unwrap();
        assert!(twice.captures("1-1", &facts()).is_some() && twice.captures("1-2", &facts()).is_none());
    }

    #[test]
    fn broken_templates_are_refused() {
        for text in ["", "a{", "a}", "{}", "{instance", "{no such}", "{colour}", "a\nb"] {
            assert!(KeyTemplate::compile(text).is_err(), "{text}");
        }
        assert!(split(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
    }
}
