//! The SenML CBOR pack of a Send: absolute names and, where a sample has one, its time (RFC 8428 section 6).
//!
//! Written apart from the content formats of the gateway on purpose: a fault there cannot hide itself here.

use minicbor::Encoder;
use minicbor::encode::Error;

use crate::model::report::Sample;
use crate::model::value::Value;

type Fallible = Result<(), Error<std::convert::Infallible>>;

/// The pack of these samples, names below `root`.
pub(super) fn encode(root: &str, samples: &[Sample]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing to a vector has no way to fail.
    let _ = pack(&mut encoder, root, samples);
    encoder.into_writer()
}

fn pack(encoder: &mut Encoder<Vec<u8>>, root: &str, samples: &[Sample]) -> Fallible {
    encoder.array(samples.len() as u64)?;
    for sample in samples {
        encoder.map(if sample.ts.is_some() { 3 } else { 2 })?;
        encoder.i8(0)?.str(&format!("{root}{}", sample.path))?;
        value(encoder, &sample.value)?;
        if let Some(ts) = sample.ts {
            encoder.i8(6)?;
            if ts.millis() % 1_000 == 0 {
                encoder.i64(ts.millis() / 1_000)?;
            } else {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age fit a double exactly")]
                encoder.f64(ts.millis() as f64 / 1_000.0)?;
            }
        }
    }
    Ok(())
}

fn value(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Fallible {
    match value {
        Value::String(text) | Value::CoreLink(text) => encoder.i8(3)?.str(text)?,
        Value::Integer(number) | Value::Time(number) => encoder.i8(2)?.i64(*number)?,
        Value::UnsignedInteger(number) => encoder.i8(2)?.u64(*number)?,
        Value::Float(number) => encoder.i8(2)?.f64(*number)?,
        Value::Boolean(flag) => encoder.i8(4)?.bool(*flag)?,
        Value::Opaque(bytes) => encoder.i8(8)?.bytes(bytes)?,
        Value::ObjectLink(object, instance) => encoder.str("vlo")?.str(&format!("{object}:{instance}"))?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::Path;
    use crate::model::time::WallTime;

    #[test]
    fn rfc8428_6_a_pack_has_integer_labels_and_times_only_where_given() {
        let path = Path::resource(3303, 0, 5700);
        let samples = [
            Sample { path, value: Value::Integer(5), ts: None },
            Sample { path, value: Value::Boolean(true), ts: Some(WallTime::from_secs(10)) },
        ];
        let name = b"\x6c/3303/0/5700";
        let expected =
            [&[0x82, 0xa2, 0x00][..], name, &[0x02, 0x05, 0xa3, 0x00], name, &[0x04, 0xf5, 0x06, 0x0a]].concat();
        assert_eq!(encode("", &samples), expected);
    }
}
