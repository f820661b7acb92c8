use super::super::test_types::{OneType, TypeTable};
use super::super::{ContentFormat, DecodeContext, Decoded, decode, encode, encode_samples};
use super::*;
use crate::model::object::NoTypes;
use crate::model::report::Sample;
use crate::model::time::WallTime;
use crate::model::value::ResourceType;

fn read(base: &str, payload: &[u8], types: &dyn ResourceTypes) -> Result<Decoded, ContentError> {
    let base = base.parse().unwrap();
    decode(ContentFormat::TLV, payload, &DecodeContext { base, root: "", types, received: WallTime::from_millis(0) })
}

fn read_one(wanted: ResourceType, bytes: &[u8]) -> Option<(Value, Vec<&'static str>)> {
    let mut payload = Vec::new();
    write_element(&mut payload, Kind::Resource, 1, bytes).unwrap();
    let decoded = read("/9/0/1", &payload, &OneType::single(wanted)).ok()?;
    let [sample] = <[Sample; 1]>::try_from(decoded.samples).ok()?;
    Some((sample.value, decoded.quirks))
}

#[test]
fn numbers_as_text_are_read_where_their_length_is_no_binary_one() {
    for (wanted, text, value) in [
        (ResourceType::Integer, "123", Value::Integer(123)),
        (ResourceType::Integer, "-1234", Value::Integer(-1234)),
        (ResourceType::UnsignedInteger, "12345", Value::UnsignedInteger(12_345)),
        (ResourceType::Time, "1476186613", Value::Time(1_476_186_613)),
        (ResourceType::Float, "21.53", Value::Float(21.53)),
        (ResourceType::Boolean, "1", Value::Boolean(true)),
        (ResourceType::ObjectLink, "3:0", Value::ObjectLink(3, 0)),
    ] {
        assert_eq!(read_one(wanted, text.as_bytes()), Some((value, vec!["tlv_ascii"])), "{text}");
    }
    // Two bytes are a binary integer before they are digits.
    assert_eq!(read_one(ResourceType::Integer, b"42"), Some((Value::Integer(0x3432), vec![])));
}

#[test]
fn times_in_milliseconds_become_seconds() {
    let millis = 1_476_186_613_250_i64;
    let expected = Value::Time(1_476_186_613);
    let binary = read_one(ResourceType::Time, &millis.to_be_bytes());
    assert_eq!(binary, Some((expected.clone(), vec!["tlv_milliseconds"])));
    let text = read_one(ResourceType::Time, millis.to_string().as_bytes());
    assert_eq!(text, Some((expected, vec!["tlv_ascii", "tlv_milliseconds"])));
    let future = 5_000_000_000_i64;
    assert_eq!(read_one(ResourceType::Time, &future.to_be_bytes()), Some((Value::Time(future), vec![])));
}

#[test]
fn values_of_no_length_for_their_type_are_refused() {
    for (wanted, bytes) in [
        (ResourceType::Integer, &[][..]),
        (ResourceType::Integer, &[1, 2, 3]),
        (ResourceType::UnsignedInteger, &[0; 16]),
        (ResourceType::Float, &[1]),
        (ResourceType::Float, &[1, 2]),
        (ResourceType::Boolean, &[2]),
        (ResourceType::Boolean, &[]),
        (ResourceType::ObjectLink, &[]),
        (ResourceType::String, &[0xff]),
        (ResourceType::CoreLink, &[0xc3]),
    ] {
        assert_eq!(read_one(wanted, bytes), None, "{wanted} {bytes:?}");
    }
}

#[test]
fn unknown_resources_keep_their_bytes() {
    let decoded = read("/9/0", &[0xc1, 1, 42, 0xc0, 2], &NoTypes).unwrap();
    let values: Vec<Value> = decoded.samples.into_iter().map(|sample| sample.value).collect();
    assert_eq!(values, [Value::Opaque(vec![42]), Value::Opaque(vec![])]);
}

#[test]
fn answers_of_another_shape_are_laid_over_the_path() {
    let (instance, multiple) = ([0x03, 0x00, 0xc1, 9, 100], [0x83, 6, 0x41, 1, 5]);
    let wrapped = [[0x08, 0, 5].as_slice(), &multiple].concat();
    let resource = &instance[2..];
    for (base, payload, path, quirks) in [
        ("/3", &instance[..], "/3/0/9", vec![]),
        ("/3", resource, "/3/0/9", vec!["tlv_no_instance"]),
        ("/3/0", &instance, "/3/0/9", vec![]),
        ("/3/1", &instance, "/3/1/9", vec!["tlv_other_id"]),
        ("/3/0/9", &instance, "/3/0/9", vec!["tlv_wrapped"]),
        ("/3/0/9", resource, "/3/0/9", vec![]),
        ("/3/0/10", resource, "/3/0/10", vec!["tlv_other_id"]),
        ("/3/0/6", &multiple, "/3/0/6/1", vec![]),
        ("/3/0/7", &multiple, "/3/0/7/1", vec!["tlv_other_id"]),
        ("/3/0/6", &multiple[2..], "/3/0/6/1", vec!["tlv_other_level"]),
        ("/3/0/6", &wrapped, "/3/0/6/1", vec!["tlv_wrapped"]),
        ("/3/0/6/1", &multiple[2..], "/3/0/6/1", vec![]),
        ("/3/0/6/1", &multiple, "/3/0/6/1", vec![]),
        ("/3/0/6/2", &multiple[2..], "/3/0/6/2", vec!["tlv_other_id"]),
        ("/3/0/6/1", &[0xc1, 6, 5], "/3/0/6/1", vec!["tlv_other_level"]),
        ("/3/0/6", &[0xc1, 6, 5], "/3/0/6", vec!["multiplicity"]),
        ("/3/0/9", &[0x83, 9, 0x41, 0, 5], "/3/0/9/0", vec!["multiplicity"]),
    ] {
        let decoded = read(base, payload, &TypeTable::core()).unwrap();
        let paths: Vec<String> = decoded.samples.iter().map(|sample| sample.path.to_string()).collect();
        assert_eq!((paths, decoded.quirks), (vec![path.to_owned()], quirks), "{base} {payload:02x?}");
    }
}

#[test]
fn answers_that_contradict_the_path_are_refused() {
    for (base, payload) in [
        ("/", &[0xc1, 9, 1][..]),
        ("/3/0/9", &[0xc1, 9, 1, 0xc1, 10, 1]),
        ("/3/0/6/0", &[0x41, 0, 1, 0x41, 1, 1]),
        ("/3/0", &[0x03, 0, 0xc1, 9, 1, 0x03, 1, 0xc1, 9, 1]),
        ("/3/0", &[0x41, 0, 1]),
        ("/3", &[0x41, 0, 1]),
        ("/3", &[0x03, 0, 0xc1, 9, 1, 0x03, 0, 0xc1, 9, 1]),
        ("/3/0/6", &[0x86, 6, 0x41, 0, 1, 0x41, 0, 1]),
        ("/3/0/6", &[0x41, 0, 1, 0x41, 0, 1]),
    ] {
        assert!(read(base, payload, &NoTypes).is_err(), "{base} {payload:02x?}");
    }
}

#[test]
fn elements_out_of_place_are_refused() {
    for payload in [
        &[0x02, 0, 0x00, 0][..],
        &[0x82, 0, 0x80, 0],
        &[0x02, 0, 0x40, 0],
        &[0x00, 0, 0xc0, 0],
        &[0xc0, 0, 0x40, 0],
        &[0x20, 0xff, 0xff],
        &[0xc8, 0],
        &[0xd0, 0, 0],
        &[0xd8, 0, 0, 0],
        &[0x83, 0, 0x42, 0, 1, 2],
    ] {
        assert!(parse(payload).is_err(), "{payload:02x?}");
    }
}

#[test]
fn create_without_an_instance_writes_bare_resources() {
    let values = [(Path::resource(42, 0, 0), Value::String("meter".to_owned()))];
    let bare = encode(ContentFormat::TLV, Path::object(42), &values, &NoTypes).unwrap();
    assert_eq!(bare, *b"\xc5\x00meter");
    let certain = [(Path::resource(42, 5, 0), Value::String("meter".to_owned()))];
    let wrapped = encode(ContentFormat::TLV, Path::object(42), &certain, &NoTypes).unwrap();
    assert_eq!(wrapped, *b"\x07\x05\xc5\x00meter");
    let sample = Sample { path: values[0].0, value: values[0].1.clone(), ts: None };
    let answer = encode_samples(ContentFormat::TLV, Path::object(42), &[sample], &NoTypes).unwrap();
    assert_eq!(answer, *b"\x07\x00\xc5\x00meter");
}

#[test]
fn one_instance_alone_is_still_a_multiple_resource() {
    let path = Path::resource_instance(3, 0, 6, 0);
    let payload = encode(ContentFormat::TLV, Path::resource(3, 0, 6), &[(path, Value::Integer(1))], &NoTypes).unwrap();
    assert_eq!(payload, [0x83, 6, 0x41, 0, 1]);
    let none = encode(ContentFormat::TLV, Path::resource(3, 0, 6), &[], &TypeTable::core()).unwrap();
    assert_eq!(none, [0x80, 6]);
}

#[test]
fn values_too_long_for_a_tlv_are_refused() {
    let path = Path::resource(9, 0, 1);
    let longest = Value::Opaque(vec![0; MAX_VALUE_BYTES]);
    let payload = encode(ContentFormat::TLV, path, &[(path, longest)], &NoTypes).unwrap();
    assert_eq!(payload[..5], [0xd8, 1, 0xff, 0xff, 0xff]);
    let longer = Value::Opaque(vec![0; MAX_VALUE_BYTES + 1]);
    assert!(encode(ContentFormat::TLV, path, &[(path, longer)], &NoTypes).is_err());
}
