//! Runs the shared wire vectors of content formats: valid ones decode to exactly what they say, malformed ones are
//! refused, tolerated ones accepted.
//!
//! A vector is judged at the layer that it is about: TLV structure, raw SenML records, raw LwM2M CBOR entries or CBOR
//! items where it states no LwM2M values, the typed decoders where it does.

use serde_json::{Map, Value as Json, json};

use super::cbor_item::{Item, decode_item};
use super::quirk::Quirks;
use super::scalar::{Number, Scalar, Wire};
use super::test_types::{OneType, TypeTable};
use super::{
    ContentFormat, DecodeContext, Decoded, decode, decode_changes, decode_paths, lwm2m_cbor, oma_json, senml, tlv,
};
use crate::model::object::{NoTypes, ResourceTypes};
use crate::model::path::Path;
use crate::model::time::WallTime;
use crate::model::value::{ResourceType, Value};

const VECTORS: &str = include_str!("../../../tests/fixtures/vectors.json");

/// Vectors that are wrong, with the reason; they are left out.
const WRONG: [(&str, &str); 0] = [];

struct Vector<'v> {
    json: &'v Json,
}

impl Vector<'_> {
    fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    fn payload(&self) -> Vec<u8> {
        match self.json["hex"].as_str() {
            Some(hex) => data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap(),
            None => self.json["text"].as_str().unwrap().as_bytes().to_vec(),
        }
    }

    fn context(&self, field: &str) -> &str {
        self.json["context"][field].as_str().unwrap_or_default()
    }

    fn declared(&self) -> Option<ResourceType> {
        match self.context("type") {
            "" => None,
            name => Some(type_named(name)),
        }
    }

    fn types(&self) -> Box<dyn ResourceTypes> {
        if let Some(declared) = self.declared() {
            return Box::new(OneType::single(declared));
        }
        let mut table = TypeTable::core();
        if let Some(model) = self.json["context"]["model"].as_object() {
            let object = self.context("path").parse::<Path>().unwrap().object_id().unwrap();
            for (resource, shape) in model {
                let name = shape.as_str().unwrap();
                let single = name.strip_suffix(" multiple");
                table.add(object, resource.parse().unwrap(), type_named(single.unwrap_or(name)), single.is_some());
            }
        }
        Box::new(table)
    }

    /// The requested path, or `otherwise` where the vector leaves it open.
    fn base(&self, otherwise: Path) -> Path {
        self.json["context"]["path"].as_str().map_or(otherwise, |path| path.parse().unwrap())
    }

    fn decode(&self, format: ContentFormat, base: Path, types: &dyn ResourceTypes) -> Result<Decoded, String> {
        let context = DecodeContext { base, root: self.context("root"), types, received: WallTime::from_millis(0) };
        decode(format, &self.payload(), &context).map_err(|error| error.to_string())
    }
}

fn type_named(name: &str) -> ResourceType {
    match name {
        "string" => ResourceType::String,
        "integer" => ResourceType::Integer,
        "unsigned integer" => ResourceType::UnsignedInteger,
        "float" => ResourceType::Float,
        "boolean" => ResourceType::Boolean,
        "opaque" => ResourceType::Opaque,
        "time" => ResourceType::Time,
        "objlnk" => ResourceType::ObjectLink,
        "corelnk" => ResourceType::CoreLink,
        other => panic!("type {other}"),
    }
}

/// Runs `judge` on every vector of a kind and reports all that fail.
fn run(kind: &str, at_least: usize, judge: impl Fn(&Vector<'_>) -> Result<(), String>) {
    let all: Json = serde_json::from_str(VECTORS).unwrap();
    let mut count = 0;
    let mut failures = Vec::new();
    for json in all.as_array().unwrap() {
        let vector = Vector { json };
        if vector.text("kind") != kind || WRONG.iter().any(|(id, _)| *id == vector.text("id")) {
            continue;
        }
        count += 1;
        if let Err(failure) = judge(&vector) {
            failures.push(format!("{}: {failure}", vector.text("id")));
        }
    }
    assert!(count >= at_least, "{count} vectors of kind {kind}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, String>) -> Result<(), String> {
    outcome.map_or(Ok(()), |got| Err(format!("accepted as {got:?}")))
}

fn same(got: &Json, wanted: &Json) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("got {got}, wanted {wanted}")) }
}

/// The samples in the two ways of the vectors: as an object by path, or as a list.
fn compare(decoded: &Decoded, wanted: &Json, root: &str) -> Result<(), String> {
    if let Some(by_path) = wanted.as_object() {
        let got: Map<String, Json> =
            decoded.samples.iter().map(|sample| (sample.path.to_string(), sample.value.to_json().unwrap())).collect();
        if decoded.samples.len() != by_path.len() {
            return Err(format!("{} samples, wanted {}", decoded.samples.len(), by_path.len()));
        }
        return same(&Json::Object(got), wanted);
    }
    let records = wanted.as_array().unwrap();
    if records.len() != decoded.samples.len() {
        return Err(format!("{} samples, wanted {}", decoded.samples.len(), records.len()));
    }
    for (record, sample) in records.iter().zip(&decoded.samples) {
        let path = record["path"].as_str().unwrap();
        same(&json!(sample.path.to_string()), &json!(path.strip_prefix(root).unwrap_or(path)))?;
        same(&value_json(&sample.value), &value_of_record(record))?;
        let millis = record["time"].as_f64().map(|seconds| (seconds * 1000.0).round() as i64);
        if sample.ts.map(WallTime::millis) != millis {
            return Err(format!("{path} at {:?}, wanted {millis:?}", sample.ts));
        }
    }
    Ok(())
}

fn value_of_record(record: &Json) -> Json {
    let value = ["v", "vs", "vb", "vd", "vlo", "value", "sv", "bv", "ov"].iter().find_map(|name| record.get(*name));
    value.unwrap_or_else(|| panic!("no value in {record}")).clone()
}

/// As the vectors write values: bytes are `{"hex": ..}`.
fn value_json(value: &Value) -> Json {
    match value {
        Value::Opaque(bytes) => json!({ "hex": data_encoding::HEXLOWER.encode(bytes) }),
        other => other.to_json().unwrap(),
    }
}

fn elements_json(elements: &[tlv::Element<'_>]) -> Json {
    let name = |kind| match kind {
        tlv::Kind::ObjectInstance => "object-instance",
        tlv::Kind::ResourceInstance => "resource-instance",
        tlv::Kind::MultipleResource => "multi-resource",
        tlv::Kind::Resource => "resource",
    };
    let all = elements.iter().map(|element| match &element.content {
        tlv::Content::Value(bytes) => {
            json!({"type": name(element.kind), "id": element.id, "value_hex": data_encoding::HEXLOWER.encode(bytes)})
        }
        tlv::Content::Elements(inner) => {
            json!({"type": name(element.kind), "id": element.id, "children": elements_json(inner)})
        }
    });
    Json::Array(all.collect())
}

#[test]
fn tlv_vectors() {
    run("tlv", 61, |vector| {
        let payload = vector.payload();
        let parsed = tlv::parse(&payload).map_err(|error| error.to_string());
        let declared = vector.types();
        let typed = || vector.decode(ContentFormat::TLV, vector.base(Path::instance(9, 0)), declared.as_ref());
        if vector.text("validity") == "malformed" {
            return if vector.text("layer") == "tlv" { refused(parsed) } else { parsed.and(refused(typed())) };
        }
        let wanted = &vector.json["decoded"];
        match wanted.as_object() {
            None => same(&elements_json(&parsed?), wanted),
            Some(members) if members.contains_key("note") => {
                let tail = [vec![4, 5, 6, 7, 8, 9], vec![0; 154]].concat();
                let [instance] = &parsed?[..] else { return Err("not one instance".to_owned()) };
                let inner = json!([{"type": "multi-resource", "id": 77, "children": [
                    {"type": "resource-instance", "id": 0, "value_hex": "010203"},
                    {"type": "resource-instance", "id": 1, "value_hex": data_encoding::HEXLOWER.encode(&tail)},
                ]}]);
                same(
                    &elements_json(std::slice::from_ref(instance)),
                    &json!([{"type": "object-instance", "id": 11, "children": inner}]),
                )
            }
            Some(members) if members.keys().all(|key| key.starts_with('/')) => compare(&typed()?, wanted, ""),
            Some(members) => {
                let absolute = members.iter().map(|(key, value)| (format!("/9/0/{key}"), value.clone())).collect();
                compare(&typed()?, &Json::Object(absolute), "")
            }
        }
    });
}

/// A raw record as the vectors write one.
fn raw_json(record: &senml::Record<'_>) -> Json {
    let mut json = Map::new();
    let number = |number: Option<Number>| {
        number.map(|number| match number {
            Number::Signed(number) => json!(number),
            Number::Unsigned(number) => json!(number),
            Number::Float(number) => json!(number),
        })
    };
    let value = match &record.value {
        Some(Scalar::Number(value)) => number(Some(*value)),
        Some(other) => panic!("{other:?}"),
        None => None,
    };
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(|text| json!(text));
    for (name, field) in [
        ("bver", record.base_version.map(|version| json!(version))),
        ("bn", text(&record.base_name)),
        ("bt", number(record.base_time)),
        ("bu", text(&record.base_unit)),
        ("n", text(&record.name)),
        ("u", text(&record.unit)),
        ("t", number(record.time)),
        ("v", value),
    ] {
        if let Some(field) = field {
            json.insert(name.to_owned(), field);
        }
    }
    Json::Object(json)
}

fn judge_senml(vector: &Vector<'_>, wire: Wire, plain: ContentFormat) -> Result<(), String> {
    let format = match vector.json["context"]["ct"].as_u64() {
        Some(number) => ContentFormat(u16::try_from(number).unwrap()),
        None => plain,
    };
    let types = vector.types();
    let payload = vector.payload();
    let base = vector.base(Path::ROOT);
    let context =
        DecodeContext { base, root: vector.context("root"), types: types.as_ref(), received: WallTime::from_millis(0) };
    if vector.text("validity") == "malformed" {
        if format != plain {
            refused(decode_changes(format, &payload, &context).map_err(|error| error.to_string()))?;
        }
        return refused(vector.decode(format, base, types.as_ref()));
    }
    let wanted = &vector.json["decoded"];
    let first = &wanted[0];
    if wanted.is_array() && first.get("path").is_none() && first.is_object() {
        let records = senml::records(wire, &payload).map_err(|error| error.to_string())?;
        return same(&records.iter().map(raw_json).collect(), wanted);
    }
    let is_fetch = vector.context("method") == "FETCH";
    if is_fetch {
        let paths = decode_paths(format, &payload, "").map_err(|error| error.to_string())?;
        return same(&paths.iter().map(|path| json!({ "path": path })).collect(), wanted);
    }
    let is_patch = vector.context("method") == "iPATCH";
    if is_patch {
        let changes = decode_changes(format, &payload, &context).map_err(|error| error.to_string())?;
        let got = changes.changes.iter().map(|(path, value)| json!([path, value.as_ref().map(value_json)])).collect();
        let wanted = wanted.as_array().unwrap();
        return same(&got, &wanted.iter().map(|record| json!([record["path"], value_of_record(record)])).collect());
    }
    compare(&vector.decode(format, base, types.as_ref())?, wanted, vector.context("root"))
}

#[test]
fn senml_json_vectors() {
    run("senml-json", 43, |vector| judge_senml(vector, Wire::SenmlJson, ContentFormat::SENML_JSON));
}

#[test]
fn senml_cbor_vectors() {
    run("senml-cbor", 36, |vector| judge_senml(vector, Wire::SenmlCbor, ContentFormat::SENML_CBOR));
}

#[test]
fn lwm2m_cbor_vectors() {
    run("lwm2m-cbor", 29, |vector| {
        let payload = vector.payload();
        let entries = lwm2m_cbor::entries(&payload, &mut Quirks::default()).map_err(|error| error.to_string());
        let typed = || vector.decode(ContentFormat::LWM2M_CBOR, vector.base(Path::ROOT), &NoTypes);
        if vector.text("validity") == "malformed" {
            if vector.text("layer") == "semantic" {
                entries?;
            } else {
                refused(entries)?;
            }
            return refused(typed());
        }
        let wanted = &vector.json["decoded"];
        if wanted.is_object() {
            return compare(&typed()?, wanted, "");
        }
        let got = entries?
            .into_iter()
            .map(|(place, scalar)| {
                let value = match scalar {
                    Scalar::Null => Json::Null,
                    Scalar::Boolean(flag) => json!(flag),
                    Scalar::Number(Number::Signed(number)) => json!(number),
                    Scalar::Text(text) => json!(text),
                    Scalar::Bytes(bytes) => json!({ "hex": data_encoding::HEXLOWER.encode(&bytes) }),
                    other => panic!("{other:?}"),
                };
                json!({ "path": place.to_string(), "value": value })
            })
            .collect();
        same(&got, wanted)?;
        // What is a path with a value must come through the whole decoder just so.
        let plain = wanted
            .as_array()
            .unwrap()
            .iter()
            .all(|record| record["path"].as_str().unwrap().parse::<Path>().is_ok() && !record["value"].is_null());
        if plain { compare(&typed()?, wanted, "") } else { refused(typed()) }
    });
}

#[test]
fn cbor_vectors() {
    run("cbor", 22, |vector| {
        let payload = vector.payload();
        let item = decode_item(&payload).map_err(|error| error.to_string());
        let typed = vector.decode(ContentFormat::CBOR, Path::resource(9, 0, 1), &NoTypes);
        if vector.text("validity") == "malformed" {
            refused(item)?;
            return refused(typed);
        }
        let wanted = &vector.json["decoded"];
        match item? {
            Item::Tag(tag, content) => {
                let value = match *content {
                    Item::Unsigned(number) => json!(number),
                    Item::Text(text) => json!(text),
                    other => panic!("{other:?}"),
                };
                same(&json!({ "tag": tag, "value": value }), wanted)?;
                same(&value_json(&typed?.samples[0].value), &json!(1_363_896_240))
            }
            // A whole SenML pack as items: no single value.
            pack @ Item::Array(_) => {
                refused(typed)?;
                same(&item_json(&pack), wanted)
            }
            _ => same(&value_json(&typed?.samples[0].value), wanted),
        }
    });
}

/// A tree of items; maps are lists of pairs.
fn item_json(item: &Item<'_>) -> Json {
    match item {
        Item::Unsigned(number) => json!(number),
        Item::Negative(number) => json!(-1 - i64::try_from(*number).unwrap()),
        Item::Text(text) => json!(text),
        Item::Float(number) => json!(number),
        Item::Array(items) => items.iter().map(item_json).collect(),
        Item::Map(entries) => entries.iter().map(|(key, value)| json!([item_json(key), item_json(value)])).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn oma_json_vectors() {
    run("oma-json", 10, |vector| {
        let payload = vector.payload();
        let base = vector.base(Path::ROOT);
        let typed = || vector.decode(ContentFormat::OMA_JSON, base, &TypeTable::core());
        if vector.text("validity") == "malformed" {
            return refused(typed());
        }
        let wanted = &vector.json["decoded"];
        if wanted.is_object() || wanted == &json!([]) {
            return compare(&typed()?, wanted, "");
        }
        let document = oma_json::parse(&payload, &mut Quirks::default()).map_err(|error| error.to_string())?;
        let base_name = document.base_name.as_deref().unwrap_or_default();
        let mut got = Vec::new();
        for record in &document.records {
            let name = format!("{base_name}{}", record.name);
            let mut json = match &record.value {
                Scalar::Text(text) => json!({ "name": name, "sv": text }),
                Scalar::Number(Number::Signed(number)) => json!({ "name": name, "v": number }),
                Scalar::Number(number) => json!({ "name": name, "v": number.as_f64() }),
                other => panic!("{other:?}"),
            };
            if let Some(seconds) = document.seconds(record) {
                json["time"] = json!(seconds as i64);
            }
            got.push(json);
        }
        same(&Json::Array(got), wanted)?;
        if base != Path::ROOT {
            let typed = typed()?;
            let paths: Vec<String> = typed.samples.iter().map(|sample| sample.path.to_string()).collect();
            let names = wanted.as_array().unwrap().iter().map(|record| record["name"].as_str().unwrap());
            for (path, name) in paths.iter().zip(names) {
                let absolute = if document.base_name.is_some() { name.to_owned() } else { format!("{base}/{name}") };
                same(&json!(path.trim_start_matches('/')), &json!(absolute.trim_start_matches('/')))?;
            }
        }
        Ok(())
    });
}

#[test]
fn text_vectors() {
    run("text-plain", 20, |vector| {
        let typed = vector.decode(ContentFormat::TEXT, Path::resource(9, 0, 1), vector.types().as_ref());
        if vector.text("validity") == "malformed" {
            return refused(typed);
        }
        let wanted = &vector.json["decoded"];
        match &typed?.samples[0].value {
            Value::Opaque(bytes) => same(&json!(format!("hex:{}", data_encoding::HEXLOWER.encode(bytes))), wanted),
            value => same(&value_json(value), wanted),
        }
    });
}
