//! What is encoded decodes to the same samples, in every format, for values of every type.

use super::test_types::{EVERY_TYPE, TypeTable};
use super::{
    ContentFormat, DecodeContext, decode, decode_paths, encode, encode_below_root, encode_paths, encode_samples,
};
use crate::model::object::NoTypes;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::WallTime;
use crate::model::value::{ResourceType, Value};

/// Two or more values of a type, the awkward ones among them.
pub(super) fn values(of: ResourceType) -> Vec<Value> {
    let texts = ["", "U", "zażółć \"\\\u{0}\u{1f600}", &"x".repeat(300)].map(str::to_owned);
    match of {
        ResourceType::String => texts.into_iter().map(Value::String).collect(),
        ResourceType::CoreLink => vec![Value::CoreLink("</3/0>;ver=1.1,</1/0>".to_owned())],
        ResourceType::Integer => {
            let edges = [0, -1, 127, 128, -128, -129, 32_767, 32_768, -32_768, -32_769];
            let wide = [2_147_483_647, 2_147_483_648, -2_147_483_648, -2_147_483_649, i64::MAX, i64::MIN];
            edges.into_iter().chain(wide).map(Value::Integer).collect()
        }
        ResourceType::UnsignedInteger => {
            [0, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, u64::MAX].map(Value::UnsignedInteger).to_vec()
        }
        ResourceType::Float => {
            [0.0, -0.5, 21.5, 0.1, 43.610_92, 1e300, -5e-324, f64::MAX, 1e21].map(Value::Float).to_vec()
        }
        ResourceType::Boolean => vec![Value::Boolean(true), Value::Boolean(false)],
        ResourceType::Opaque => {
            vec![Value::Opaque(vec![]), Value::Opaque(vec![0xfb, 0xff, 0]), Value::Opaque(vec![7; 70_000])]
        }
        ResourceType::Time => [0, 1_700_000_000, -1, 5_000_000_000].map(Value::Time).to_vec(),
        ResourceType::ObjectLink => vec![Value::ObjectLink(3, 0), Value::ObjectLink(65_535, 65_535)],
    }
}

const SINGLE_VALUE: [ContentFormat; 2] = [ContentFormat::TEXT, ContentFormat::CBOR];
const MULTI_VALUE: [ContentFormat; 5] = [
    ContentFormat::TLV,
    ContentFormat::SENML_JSON,
    ContentFormat::SENML_CBOR,
    ContentFormat::LWM2M_CBOR,
    ContentFormat::OMA_JSON,
];

fn sample(path: Path, value: Value) -> Sample {
    Sample { path, value, ts: None }
}

fn read_back(format: ContentFormat, base: Path, payload: &[u8]) -> Vec<Sample> {
    let types = TypeTable::every_type();
    let context = DecodeContext { base, root: "", types: &types, received: WallTime::from_millis(0) };
    let decoded = decode(format, payload, &context).unwrap_or_else(|error| panic!("{format} {base}: {error}"));
    assert_eq!(decoded.quirks, Vec::<&str>::new(), "{format} {base}");
    decoded.samples
}

#[test]
fn single_values_of_every_type_survive() {
    let types = TypeTable::every_type();
    for (number, of) in (0..).zip(EVERY_TYPE) {
        for value in values(of) {
            for path in [Path::resource(1000, 0, number), Path::resource_instance(1000, 0, number + 10, 300)] {
                for format in SINGLE_VALUE.into_iter().chain(MULTI_VALUE) {
                    let payload = encode(format, path, &[(path, value.clone())], &types).unwrap();
                    assert_eq!(read_back(format, path, &payload), [sample(path, value.clone())], "{format}");
                }
            }
        }
    }
    let path = Path::resource(1000, 0, 5);
    let value = Value::Opaque(vec![0, 255]);
    let payload = encode(ContentFormat::OPAQUE, path, &[(path, value.clone())], &types).unwrap();
    assert_eq!(payload, [0, 255]);
    assert_eq!(read_back(ContentFormat::OPAQUE, path, &payload), [sample(path, value)]);
}

#[test]
fn instances_and_objects_survive_whole() {
    let types = TypeTable::every_type();
    let mut samples = Vec::new();
    for instance in [0, 1, 300] {
        for multiple in [false, true] {
            for (number, of) in (0..).zip(EVERY_TYPE) {
                let mut value = values(of).into_iter();
                if !multiple {
                    samples.push(sample(Path::resource(1000, instance, number), value.next().unwrap()));
                    continue;
                }
                for (id, value) in (0..).zip(value) {
                    samples.push(sample(Path::resource_instance(1000, instance, number + 10, id * 200), value));
                }
            }
        }
    }
    for format in MULTI_VALUE {
        for base in [Path::object(1000), Path::instance(1000, 1), Path::resource(1000, 300, 11)] {
            let below: Vec<Sample> = samples.iter().filter(|sample| base.contains(&sample.path)).cloned().collect();
            let payload = encode_samples(format, base, &below, &types).unwrap();
            assert_eq!(read_back(format, base, &payload), below, "{format} {base}");
        }
    }
    for format in [ContentFormat::SENML_JSON, ContentFormat::SENML_CBOR, ContentFormat::LWM2M_CBOR] {
        let payload = encode_samples(format, Path::ROOT, &samples, &types).unwrap();
        assert_eq!(read_back(format, Path::ROOT, &payload), samples, "{format} at the root");
    }
}

#[test]
fn times_survive_to_the_millisecond_and_in_order() {
    let types = TypeTable::every_type();
    let path = Path::resource(1000, 0, 3);
    let samples: Vec<Sample> = (0..50)
        .map(|number| Sample {
            path,
            value: Value::Float(f64::from(number) / 10.0),
            ts: (number % 7 != 0).then(|| WallTime::from_millis(1_699_877_805_766 - i64::from(number) * 101)),
        })
        .collect();
    for format in [ContentFormat::SENML_JSON, ContentFormat::SENML_CBOR] {
        // Several samples without a time would be the same path at the same time, which is an error to write.
        let timed: Vec<Sample> =
            samples.iter().enumerate().filter(|(n, s)| *n == 0 || s.ts.is_some()).map(|(_, s)| s.clone()).collect();
        let payload = encode_samples(format, Path::ROOT, &timed, &types).unwrap();
        assert_eq!(read_back(format, Path::ROOT, &payload), timed, "{format}");
        assert!(encode_samples(format, Path::ROOT, &samples, &types).is_err(), "{format}");
    }
    let timed = &samples[1..2];
    let payload = encode_samples(ContentFormat::OMA_JSON, path, timed, &types).unwrap();
    assert_eq!(read_back(ContentFormat::OMA_JSON, path, &payload), timed);
    for format in [ContentFormat::TLV, ContentFormat::LWM2M_CBOR, ContentFormat::TEXT, ContentFormat::CBOR] {
        assert!(encode_samples(format, path, timed, &types).is_err(), "{format}");
    }
    let early = Sample { ts: Some(WallTime::from_secs(5)), ..samples[0].clone() };
    assert!(encode_samples(ContentFormat::SENML_CBOR, path, &[early], &types).is_err());
}

#[test]
fn values_keep_their_wire_type_without_a_model() {
    let path = Path::resource(9, 0, 1);
    for value in [
        Value::Boolean(true),
        Value::Integer(-5),
        Value::UnsignedInteger(u64::MAX),
        Value::Float(20.0),
        Value::String("x".to_owned()),
        Value::Opaque(vec![1]),
        Value::ObjectLink(3, 0),
    ] {
        for format in [ContentFormat::SENML_JSON, ContentFormat::SENML_CBOR] {
            let payload = encode(format, path, &[(path, value.clone())], &NoTypes).unwrap();
            let context = DecodeContext { base: path, root: "", types: &NoTypes, received: WallTime::from_millis(0) };
            assert_eq!(decode(format, &payload, &context).unwrap().samples, [sample(path, value.clone())], "{format}");
        }
    }
}

#[test]
fn composite_paths_survive() {
    let paths = [Path::ROOT, Path::object(3), Path::instance(3, 0), Path::resource_instance(3, 0, 6, 65_534)];
    for format in [
        ContentFormat::SENML_JSON,
        ContentFormat::SENML_CBOR,
        ContentFormat::SENML_ETCH_JSON,
        ContentFormat::SENML_ETCH_CBOR,
    ] {
        for root in ["", "/lwm2m"] {
            let payload = encode_paths(format, &paths, root).unwrap();
            assert_eq!(decode_paths(format, &payload, root).unwrap(), paths);
        }
    }
    assert!(encode_paths(ContentFormat::TLV, &paths, "").is_err());
    assert!(decode_paths(ContentFormat::SENML_JSON, br#"[{"n":"/3/0/9","v":1}]"#, "").is_err());
}

#[test]
fn what_a_format_cannot_carry_is_refused() {
    let types = TypeTable::every_type();
    let float = Path::resource(1000, 0, 3);
    for number in [f64::NAN, f64::INFINITY] {
        for format in [ContentFormat::SENML_JSON, ContentFormat::OMA_JSON, ContentFormat::TEXT] {
            assert!(encode(format, float, &[(float, Value::Float(number))], &types).is_err(), "{format}");
        }
        for format in [ContentFormat::TLV, ContentFormat::SENML_CBOR, ContentFormat::CBOR, ContentFormat::LWM2M_CBOR] {
            let payload = encode(format, float, &[(float, Value::Float(number))], &types).unwrap();
            let Value::Float(read) = read_back(format, float, &payload)[0].value else { panic!("{format}") };
            assert_eq!(read.is_nan(), number.is_nan(), "{format}");
        }
    }
    let integer = (Path::resource(1000, 0, 1), Value::Integer(1));
    let two = [integer.clone(), (float, Value::Float(1.0))];
    for format in [ContentFormat::TEXT, ContentFormat::CBOR, ContentFormat::OPAQUE] {
        assert!(encode(format, Path::instance(1000, 0), &two, &types).is_err(), "{format}");
        assert!(encode(format, float, &[], &types).is_err(), "{format}");
    }
    assert!(encode(ContentFormat::OPAQUE, integer.0, std::slice::from_ref(&integer), &types).is_err());
    assert!(encode(ContentFormat::TLV, Path::ROOT, &two, &types).is_err());
    assert!(encode(ContentFormat::LWM2M_CBOR, Path::ROOT, &[], &types).is_err());
    assert!(encode(ContentFormat::LINK_FORMAT, integer.0, std::slice::from_ref(&integer), &types).is_err());
    let (value, instance) = (Path::resource(1000, 0, 1), Path::resource_instance(1000, 0, 1, 0));
    let both = [(value, Value::Integer(1)), (instance, Value::Integer(2))];
    for format in MULTI_VALUE {
        assert!(encode(format, Path::instance(1000, 1), &two, &types).is_err(), "{format} outside");
        assert!(encode(format, value, &[integer.clone(), integer.clone()], &types).is_err(), "{format} twice");
        let above = (Path::instance(1000, 0), Value::Integer(1));
        assert!(encode(format, above.0, std::slice::from_ref(&above), &types).is_err(), "{format} no resource");
    }
    assert!(encode(ContentFormat::TLV, value, &both, &types).is_err());
    assert!(encode(ContentFormat::LWM2M_CBOR, value, &both, &types).is_err());
}

#[test]
fn nothing_at_all_has_a_form_in_each_format_of_many_values() {
    let types = TypeTable::every_type();
    for format in MULTI_VALUE {
        for base in [Path::object(1000), Path::instance(1000, 0), Path::resource(1000, 0, 11)] {
            let payload = encode_samples(format, base, &[], &types).unwrap();
            assert_eq!(read_back(format, base, &payload), [], "{format} {base}");
        }
    }
}

#[test]
fn every_double_survives_its_decimal_text() {
    let path = Path::resource(9, 0, 1);
    let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..5_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(bits);
        if number.is_finite() {
            let payload = encode(ContentFormat::SENML_JSON, path, &[(path, Value::Float(number))], &NoTypes).unwrap();
            let context = DecodeContext { base: path, root: "", types: &NoTypes, received: WallTime::from_millis(0) };
            let decoded = decode(ContentFormat::SENML_JSON, &payload, &context).unwrap();
            assert_eq!(decoded.samples, [sample(path, Value::Float(number))]);
        }
    }
}

#[test]
fn names_below_an_alternate_root_survive() {
    let values = [(Path::resource(3, 0, 9), Value::Integer(95)), (Path::resource(4, 0, 2), Value::Integer(-49))];
    for format in [ContentFormat::SENML_JSON, ContentFormat::SENML_CBOR, ContentFormat::OMA_JSON] {
        for (base, values) in [(Path::ROOT, &values[..]), (Path::instance(3, 0), &values[..1])] {
            let payload = encode_below_root(format, "/lwm2m", base, values, &NoTypes).unwrap();
            assert!(payload.windows(6).any(|part| part == b"/lwm2m"), "{format}");
            let received = WallTime::from_millis(0);
            let context = DecodeContext { base, root: "/lwm2m", types: &NoTypes, received };
            let decoded = decode(format, &payload, &context).unwrap();
            let wanted: Vec<Sample> = values.iter().map(|(path, value)| sample(*path, value.clone())).collect();
            assert_eq!((decoded.samples, decoded.quirks), (wanted, vec![]), "{format}");
        }
    }
}
