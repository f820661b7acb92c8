//! Profile identifiers (`pid`, Core TS 1.2.2 section 6.2.1): names for object lists that need not be sent again.
//!
//! An identifier is `suite:hash` with a suite of RFC 6920 (1 to 6) and lower-case hexadecimal digits, `oma:name` for a
//! registered profile, or `v:name` for one of a vendor. Several stand in quotes with commas between them.
//!
//! What the hash is taken of has no canonical form in the standard, so that a list cannot be told from its hash: a
//! server knows a profile or it does not, and a device whose profile is unknown sends its whole list.

use std::collections::BTreeMap;

use super::object_list::ObjectList;
use crate::model::report::RegisteredObject;

/// The profiles known here, with their object lists: the one that the enabler test specification uses.
const KNOWN: [(&str, &str); 1] = [("6:27354b9a", "</1/0>,</3/0>")];

/// Why a text is no list of profile identifiers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileIdError {
    /// One identifier does not have the form `suite:hash`, `oma:name` or `v:name`.
    #[error("{0:?} is no profile identifier such as 6:27354b9a, oma:NAME or v:NAME")]
    Malformed(String),
    /// Several identifiers without quotes around them, or a quote on one side only.
    #[error("several profile identifiers stand in quotes with commas between them")]
    Unquoted,
}

/// Reads one identifier, or several in quotes.
///
/// # Errors
/// If the quotes or an identifier are malformed.
pub fn parse_list(text: &str) -> Result<Vec<String>, ProfileIdError> {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let list = quoted.unwrap_or(text);
    if list.contains('"') || (quoted.is_none() && list.contains(',')) {
        return Err(ProfileIdError::Unquoted);
    }
    list.split(',').map(|id| check(id).map(|()| id.to_owned())).collect()
}

/// Adds what profiles stand for to the objects that a device listed itself. False if one of them is not known.
pub fn add_objects(ids: &[String], objects: &mut BTreeMap<u16, RegisteredObject>) -> bool {
    let mut all_known = true;
    for id in ids {
        let known = KNOWN.iter().find(|(known, _)| known == id);
        let Some(Ok(list)) = known.map(|(_, links)| ObjectList::decode(links.as_bytes())) else {
            all_known = false;
            continue;
        };
        for (object, described) in list.objects {
            let listed = objects.entry(object).or_default();
            listed.version = listed.version.or(described.version);
            listed.instances.extend(described.instances);
            listed.instances.sort_unstable();
            listed.instances.dedup();
        }
    }
    all_known
}

fn check(id: &str) -> Result<(), ProfileIdError> {
    let fits = id.split_once(':').is_some_and(|(prefix, rest)| match prefix {
        "1" | "2" | "3" | "4" | "5" | "6" => {
            !rest.is_empty() && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        }
        "oma" | "v" => !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()),
        _ => false,
    });
    if fits { Ok(()) } else { Err(ProfileIdError::Malformed(id.chars().take(80).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identifier_or_a_quoted_list_is_read() {
        assert_eq!(parse_list("6:27354b9a").unwrap(), ["6:27354b9a"]);
        assert_eq!(parse_list("\"1:00ff,oma:basic,v:acme-1\"").unwrap(), ["1:00ff", "oma:basic", "v:acme-1"]);
    }

    #[test]
    fn a_known_profile_adds_its_objects_to_those_that_are_listed() {
        let known = ["6:27354b9a".to_owned()];
        let mut objects = ObjectList::decode(b"</3/1>,</4/0>").unwrap().objects;
        assert!(add_objects(&known, &mut objects));
        assert_eq!(objects, ObjectList::decode(b"</1/0>,</3/0>,</3/1>,</4/0>").unwrap().objects);
        assert!(!add_objects(&["6:00000000".to_owned(), known[0].clone()], &mut objects));
        assert!(add_objects(&[], &mut objects));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "\"\"", "6", "6:", "7:ab", "6:AB", "v:", "v:a b", "\"v:a,\""] {
            assert!(matches!(parse_list(text), Err(ProfileIdError::Malformed(_))), "{text}");
        }
        for text in ["v:a,v:b", "\"v:a", "v:a\""] {
            assert_eq!(parse_list(text), Err(ProfileIdError::Unquoted), "{text}");
        }
    }
}
