//! JSON with `{placeholders}` in its texts: payloads of `[[publish]]`, values of `[[command]]`.
//!
//! A text that is one placeholder becomes what the placeholder stands for, with its JSON type; within other text it is
//! written out.

use serde_json::Value as Json;

use super::template::{Part, split};

/// A compiled JSON template. Its depth is that of the TOML value, which the parser bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JsonTemplate {
    /// Stays as it is.
    Constant(Json),
    /// One placeholder.
    Whole(String),
    /// Text with placeholders.
    Text(Vec<Part>),
    Array(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// In words, for braces that do not pair.
    pub(super) fn compile(json: &Json) -> Result<Self, String> {
        Ok(match json {
            Json::String(text) => match <[Part; 1]>::try_from(split(text)?) {
                Ok([Part::Placeholder(name)]) => Self::Whole(name),
                Ok([Part::Literal(literal)]) => Self::Constant(literal.into()),
                Err(parts) if parts.is_empty() => Self::Constant("".into()),
                Err(parts) => Self::Text(parts),
            },
            Json::Array(items) => Self::Array(items.iter().map(Self::compile).collect::<Result<_, _>>()?),
            Json::Object(map) => {
                Self::Object(map.iter().map(|(key, value)| Ok((key.clone(), Self::compile(value)?))).collect::<Result<
                    _,
                    String,
                >>(
                )?)
            }
            constant => Self::Constant(constant.clone()),
        })
    }

    /// The names of all placeholders.
    pub(super) fn placeholders(&self) -> Vec<&str> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Whole(name) => vec![name],
            Self::Text(parts) => placeholders(parts).collect(),
            Self::Array(items) => items.iter().flat_map(Self::placeholders).collect(),
            Self::Object(entries) => entries.iter().flat_map(|(_, value)| value.placeholders()).collect(),
        }
    }

    /// Fills the placeholders.
    ///
    /// # Errors
    /// The first one of `lookup`.
    pub(super) fn fill<E>(&self, lookup: &mut dyn FnMut(&str) -> Result<Json, E>) -> Result<Json, E> {
        Ok(match self {
            Self::Constant(json) => json.clone(),
            Self::Whole(name) => lookup(name)?,
            Self::Text(parts) => fill_text(parts, &mut |name| Ok(written(&lookup(name)?)))?.into(),
            Self::Array(items) => items.iter().map(|item| item.fill(lookup)).collect::<Result<Vec<Json>, E>>()?.into(),
            Self::Object(entries) => entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), value.fill(lookup)?)))
                .collect::<Result<serde_json::Map<String, Json>, E>>()?
                .into(),
        })
    }
}

/// The names of the placeholders of a text.
pub(super) fn placeholders(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        Part::Literal(_) => None,
        Part::Placeholder(name) => Some(name.as_str()),
    })
}

/// Fills the placeholders of a text.
///
/// # Errors
/// The first one of `lookup`.
pub(super) fn fill_text<E>(parts: &[Part], lookup: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Placeholder(name) => text.push_str(&lookup(name)?),
        }
    }
    Ok(text)
}

/// A JSON value within text: strings without quotes, null as nothing.
pub(super) fn written(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_placeholder_keeps_its_type_and_text_writes_it_out() {
        let template = JsonTemplate::compile(&json!({"v": "{value}", "t": ["at {ts}", 7, "x"], "e": ""})).unwrap();
        let mut names = template.placeholders();
        names.sort_unstable();
        assert_eq!(names, ["ts", "value"]);
        let filled = template.fill(&mut |name| match name {
            "value" => Ok(json!(21.5)),
            _ => Err(()),
        });
        assert_eq!(filled, Err(()));
        let filled = template.fill::<()>(&mut |name| Ok(if name == "value" { json!(21.5) } else { json!(12) }));
        assert_eq!(filled, Ok(json!({"v": 21.5, "t": ["at 12", 7, "x"], "e": ""})));
        assert!(JsonTemplate::compile(&json!(["{"])).is_err());
    }
}
