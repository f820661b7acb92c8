//! The configuration as it is in force, for whoever asks from afar: every key that was read with its value or default,
//! and no secret.
//!
//! It is written down where values are taken ([`Section`](super::section::Section)), so that no key can be missing.
//! Three rules keep secrets out: a key of the kind secret shows its source (`{ file = .. }`) or [`HIDDEN`]; a user and
//! password inside any URL become [`HIDDEN`]; a text whose key sounds like a secret is hidden too, should one ever be
//! read as a plain text.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::section::{Kind, PEM_MARK};
use super::tree::{Node, NodeValue};

/// Stands where a secret is.
pub const HIDDEN: &str = "***";

/// Parts of names of keys whose texts are hidden whatever their kind.
const SECRET_WORDS: [&str; 5] = ["password", "secret", "token", "authorization", "passphrase"];

/// Puts a value under a dotted section and key.
pub(super) fn put(tree: &mut Json, section: &str, key: &str, value: Json) {
    let mut table = tree;
    for name in section.split('.').filter(|name| !name.is_empty()) {
        if !table[name].is_object() {
            table[name] = Json::Object(Map::new());
        }
        table = &mut table[name];
    }
    table[key] = value;
}

/// What is shown of a value that was written; `folder` is where relative paths count from.
pub(super) fn shown(kind: &Kind, key: &str, node: &Node, folder: &Path) -> Json {
    match (&node.value, kind) {
        (NodeValue::Table(source), Kind::Secret | Kind::KeyFile) => {
            let sources = source.iter().map(|(name, node)| (name.clone(), text(node)));
            Json::Object(sources.collect())
        }
        (_, Kind::Secret) => HIDDEN.into(),
        (NodeValue::Array(items), _) => items.iter().map(|item| shown(kind, key, item, folder)).collect(),
        // A key that stands where its path should.
        (NodeValue::String(text), _) if text.contains(PEM_MARK) => HIDDEN.into(),
        (NodeValue::String(path), Kind::Path | Kind::PathList | Kind::KeyFile) => {
            folder.join(path).display().to_string().into()
        }
        (NodeValue::String(_), _) if sounds_secret(key) => HIDDEN.into(),
        (NodeValue::String(text), _) => without_credentials(text).into(),
        (NodeValue::Integer(number), _) => json!(number),
        (NodeValue::Boolean(boolean), _) => json!(boolean),
        (NodeValue::Float(_) | NodeValue::Datetime | NodeValue::Table(_), _) => Json::Null,
    }
}

/// What is shown of a default.
pub(super) fn shown_default(kind: &Kind, default: Option<Json>, folder: &Path) -> Json {
    match (kind, default) {
        (Kind::Path, Some(Json::String(path))) => folder.join(path).display().to_string().into(),
        (_, default) => default.unwrap_or_default(),
    }
}

fn text(node: &Node) -> Json {
    if let NodeValue::String(text) = &node.value { text.as_str().into() } else { Json::Null }
}

fn sounds_secret(key: &str) -> bool {
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// A text whose URLs, if any, have lost user and password.
fn without_credentials(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::with_capacity(text.len());
    while let Some((scheme, after)) = rest.split_once("://") {
        shown.push_str(scheme);
        shown.push_str("://");
        let authority = after.find(['/', '?', '#', ' ', '"']).unwrap_or(after.len());
        let (host, tail) = after.split_at(authority);
        if let Some((_, host)) = host.rsplit_once('@') {
            shown.push_str(HIDDEN);
            shown.push('@');
            shown.push_str(host);
        } else {
            shown.push_str(host);
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_user_and_password_wherever_they_stand() {
        for (text, shown) in [
            ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1883"),
            ("https://ann:hunter2@host/path?a=b@c", "https://***@host/path?a=b@c"),
            ("https://ann@host", "https://***@host"),
            ("https://a:p@ss@host", "https://***@host"),
            ("both coap://u:p@x and http://v:q@y/", "both coap://***@x and http://***@y/"),
            ("lwm2mqtt-{gateway}-{sink}", "lwm2mqtt-{gateway}-{sink}"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn values_stand_in_their_sections() {
        let mut tree = Json::Object(Map::new());
        put(&mut tree, "", "version", json!(1));
        put(&mut tree, "sink.local", "base", json!("lwm2m"));
        put(&mut tree, "sink.cloud", "base", json!("x"));
        assert_eq!(tree, json!({ "version": 1, "sink": { "local": { "base": "lwm2m" }, "cloud": { "base": "x" } } }));
    }
}
