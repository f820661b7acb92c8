//! What reading and writing one message costs: CoAP, TLV, SenML.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::report::Sample;
use lwm2mqtt::model::time::WallTime;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::content::{ContentFormat, DecodeContext, decode, encode_samples};
use lwm2mqtt::simulator::tree::ObjectTree;

/// A confirmable notification as a sensor sends it, and a registration with a dozen objects.
fn messages() -> [(&'static str, Message); 2] {
    let token = Token::new(&[0x5a, 0x11, 0x02, 0x9c]).expect("at most eight bytes");
    let mut notification = Message::new(MessageType::Confirmable, Code::CONTENT, 0x7d34, token);
    notification.push_uint(OptionNumber::OBSERVE, 4_711);
    notification.push_uint(OptionNumber::CONTENT_FORMAT, 112);
    notification.payload = payload(ContentFormat::SENML_CBOR, Path::resource(3303, 0, 5700), 1);
    let mut registration = Message::new(MessageType::Confirmable, Code::POST, 0x7d35, token);
    registration.push_option(OptionNumber::URI_PATH, "rd");
    registration.push_uint(OptionNumber::CONTENT_FORMAT, 40);
    for argument in ["ep=urn:imei:490154203237518", "lt=86400", "lwm2m=1.1", "b=U"] {
        registration.push_option(OptionNumber::URI_QUERY, argument);
    }
    registration.payload =
        b"</>;rt=\"oma.lwm2m\";ct=\"60 110 112 11542 11543\",</1/0>,</2>,</3/0>,</4/0>,</5/0>,</6/0>,\
        </3303/0>;ver=1.1,</3303/1>,</3304/0>,</3306/0>,</3312/0>,</3313/0>"
            .to_vec();
    [("notification", notification), ("registration", registration)]
}

/// Resources as they stand in a sensor: numbers, a unit, a name.
fn samples(count: u16) -> Vec<Sample> {
    (0..count)
        .map(|number| {
            let value = match number % 4 {
                0 => Value::Float(21.5 + f64::from(number)),
                1 => Value::Integer(i64::from(number) * 1_000),
                2 => Value::Boolean(number % 8 == 2),
                _ => Value::String("Cel".to_owned()),
            };
            Sample { path: Path::resource(3303, 0, 5700 + number), value, ts: None }
        })
        .collect()
}

/// The types of [`samples`], as TLV needs them.
fn types() -> ObjectTree {
    let mut tree = ObjectTree::default();
    for sample in samples(RESOURCES) {
        tree.set(sample.path, sample.value);
    }
    tree
}

const RESOURCES: u16 = 20;

fn payload(format: ContentFormat, base: Path, count: u16) -> Vec<u8> {
    encode_samples(format, base, &samples(count), &types()).expect("the format carries these values")
}

fn coap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coap");
    for (name, message) in messages() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("decode/{name}"), |bencher| bencher.iter(|| Message::decode(black_box(&bytes))));
        group.bench_function(format!("encode/{name}"), |bencher| bencher.iter(|| black_box(&message).encode()));
    }
    group.finish();
}

fn content(criterion: &mut Criterion) {
    let types = types();
    let received = WallTime::from_secs(1_760_000_000);
    let mut group = criterion.benchmark_group("content");
    for format in [
        ContentFormat::TLV,
        ContentFormat::SENML_CBOR,
        ContentFormat::SENML_JSON,
        ContentFormat::LWM2M_CBOR,
        ContentFormat::OMA_JSON,
    ] {
        for (base, count) in [(Path::resource(3303, 0, 5700), 1), (Path::instance(3303, 0), RESOURCES)] {
            let bytes = payload(format, base, count);
            let context = DecodeContext { base, root: "", types: &types, received };
            let decoded = decode(format, &bytes, &context).expect("what was encoded is decoded");
            assert_eq!(decoded.samples, samples(count));
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(format!("decode/{format}/{count}"), |bencher| {
                bencher.iter(|| decode(format, black_box(&bytes), &context));
            });
            let samples = samples(count);
            group.bench_function(format!("encode/{format}/{count}"), |bencher| {
                bencher.iter(|| encode_samples(format, base, black_box(&samples), &types));
            });
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    coap(&mut criterion);
    content(&mut criterion);
    criterion.final_summary();
}
