//! Damaged payloads: whatever a device or an attacker sends, a decoder answers with samples or an error.

use super::round_trip_test::values;
use super::test_types::{EVERY_TYPE, TypeTable};
use super::{ContentFormat, DecodeContext, decode, decode_changes, decode_paths, encode_samples};
use crate::model::object::{NoTypes, ResourceTypes};
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::WallTime;
use crate::model::value::Value;

const MUTATIONS: usize = 10_000;

/// A small generator with a fixed seed, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn mutated(original: &[u8], random: &mut Random) -> Vec<u8> {
    let mut payload = original.to_vec();
    for _ in 0..=random.next(4) {
        let at = random.next(payload.len());
        match random.next(6) {
            0 => payload.truncate(at),
            1 => payload.insert(at, random.next(256) as u8),
            2 if !payload.is_empty() => payload[at] ^= 1 << random.next(8),
            3 if !payload.is_empty() => payload[at] = random.next(256) as u8,
            4 if !payload.is_empty() => {
                let from = random.next(payload.len());
                let part = payload[at.min(from)..at.max(from)].to_vec();
                payload.splice(at..at, part);
            }
            _ => payload.push([0x00, 0xff, 0x9f, 0xbf, 0x5f, b'[', b'{', b'"', b','][random.next(9)]),
        }
    }
    payload
}

fn attack(format: ContentFormat, base: Path, samples: &[Sample]) {
    let types = TypeTable::every_type();
    let original = encode_samples(format, base, samples, &types).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(format.0));
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..MUTATIONS {
        let payload = mutated(&original, &mut random);
        let known: &dyn ResourceTypes = if number % 2 == 0 { &types } else { &NoTypes };
        for base in [base, Path::ROOT, Path::resource(1000, 0, 11)] {
            let context = DecodeContext { base, root: "", types: known, received: WallTime::from_millis(i64::MAX) };
            match decode(format, &payload, &context) {
                Ok(decoded) => {
                    accepted += 1;
                    assert!(decoded.samples.iter().all(|sample| base.contains(&sample.path)));
                    assert!(decoded.samples.iter().all(|sample| sample.path.depth() >= 3));
                    assert!(decoded.samples.len() <= payload.len().max(1));
                }
                Err(_) => refused += 1,
            }
            let _ = decode_changes(format, &payload, &context);
        }
        let _ = decode_paths(format, &payload, "/lwm2m");
    }
    assert!(refused > 100, "{format}: mutations do no damage ({refused})");
    assert!(accepted > 0, "{format}: nothing passes, so the decoder proper is not reached");
}

fn everything() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (number, of) in (0..).zip(EVERY_TYPE) {
        let short = |value: &Value| !matches!(value, Value::Opaque(bytes) if bytes.len() > 100);
        let mut all = values(of).into_iter().filter(short).take(3);
        let single = all.next().unwrap();
        samples.push(Sample { path: Path::resource(1000, 0, number), value: single, ts: None });
        for (id, value) in (0..).zip(all) {
            samples.push(Sample { path: Path::resource_instance(1000, 0, number + 10, id), value, ts: None });
        }
    }
    samples
}

fn timed(mut samples: Vec<Sample>) -> Vec<Sample> {
    for (number, sample) in (0..).zip(&mut samples) {
        sample.ts = Some(WallTime::from_millis(1_699_877_805_000 + number));
    }
    samples
}

#[test]
fn damaged_tlv_never_panics() {
    attack(ContentFormat::TLV, Path::instance(1000, 0), &everything());
}

#[test]
fn damaged_senml_json_never_panics() {
    attack(ContentFormat::SENML_JSON, Path::instance(1000, 0), &timed(everything()));
}

#[test]
fn damaged_senml_cbor_never_panics() {
    attack(ContentFormat::SENML_CBOR, Path::instance(1000, 0), &timed(everything()));
}

#[test]
fn damaged_lwm2m_cbor_never_panics() {
    attack(ContentFormat::LWM2M_CBOR, Path::instance(1000, 0), &everything());
}

#[test]
fn damaged_oma_json_never_panics() {
    attack(ContentFormat::OMA_JSON, Path::instance(1000, 0), &timed(everything()));
}

#[test]
fn damaged_single_values_never_panic() {
    for sample in everything() {
        if sample.path.depth() == 3 {
            for format in [ContentFormat::CBOR, ContentFormat::TEXT] {
                if sample.value != Value::String(String::new()) {
                    attack_single(format, &sample);
                }
            }
        }
    }
}

/// Text and CBOR have so little structure that a type may take or refuse every mutation; only panics count.
fn attack_single(format: ContentFormat, sample: &Sample) {
    let types = TypeTable::every_type();
    let original = encode_samples(format, sample.path, std::slice::from_ref(sample), &types).unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ u64::from(format.0));
    let context =
        DecodeContext { base: sample.path, root: "", types: &types, received: WallTime::from_millis(i64::MIN) };
    let mut differing = 0;
    for _ in 0..MUTATIONS / 5 {
        let outcome = decode(format, &mutated(&original, &mut random), &context);
        differing += usize::from(outcome.is_err() || outcome.is_ok_and(|decoded| decoded.samples != [sample.clone()]));
    }
    assert!(differing > 100, "{format}: mutations change nothing");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(42);
    let types = TypeTable::every_type();
    for _ in 0..MUTATIONS {
        let payload: Vec<u8> = (0..random.next(40)).map(|_| random.next(256) as u8).collect();
        for (_, format) in ContentFormat::NAMES {
            for depth in 0..=4 {
                let base = Path::resource_instance(1000, 0, 11, 0).truncated(depth).unwrap();
                let context = DecodeContext { base, root: "", types: &types, received: WallTime::from_millis(0) };
                let outcome = decode(format, &payload, &context);
                assert!(outcome.is_err() || format != ContentFormat::LINK_FORMAT);
            }
        }
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    let types = TypeTable::every_type();
    for (format, payload) in [
        (ContentFormat::TLV, &[0xd8, 0, 0xff, 0xff, 0xff, 0][..]),
        (ContentFormat::SENML_CBOR, &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (ContentFormat::SENML_CBOR, &[0x81, 0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (ContentFormat::LWM2M_CBOR, &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (ContentFormat::LWM2M_CBOR, &[0xa1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (ContentFormat::CBOR, &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (ContentFormat::CBOR, &[0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let base = Path::resource(1000, 0, 0);
        let context = DecodeContext { base, root: "", types: &types, received: WallTime::from_millis(0) };
        assert!(decode(format, payload, &context).is_err(), "{format} {payload:?}");
    }
}
