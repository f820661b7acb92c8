//! `scale`, `offset`, `round`, `names` and `as`, in this order; and backwards for what is written.

use std::collections::BTreeMap;

use serde_json::{Number, Value as Json};

use crate::model::time::WallTime;

/// Integers up to this are exact in floating point (2^53).
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Last second of the year 9999, where RFC 3339 ends.
const MAX_RFC3339_SECS: i64 = 253_402_300_799;

/// First second of the year 0000.
const MIN_RFC3339_SECS: i64 = -62_167_219_200;

/// `as`: the JSON type of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Target {
    Integer,
    Float,
    Boolean,
    String,
    Rfc3339,
}

/// The conversion of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mapping) struct Conversion {
    pub(in crate::mapping) scale: f64,
    pub(in crate::mapping) offset: f64,
    /// Decimals to keep.
    pub(in crate::mapping) round: Option<u8>,
    /// Number as text → its name.
    pub(in crate::mapping) names: BTreeMap<String, String>,
    pub(in crate::mapping) target: Option<Target>,
}

impl Default for Conversion {
    fn default() -> Self {
        Self { scale: 1.0, offset: 0.0, round: None, names: BTreeMap::new(), target: None }
    }
}

impl Conversion {
    /// Applies everything to a value.
    ///
    /// # Errors
    /// In words, if the value cannot be converted.
    pub(in crate::mapping) fn apply(&self, value: Json) -> Result<Json, String> {
        let value = self.arithmetic(value)?;
        let value = self.named(value);
        match self.target {
            Some(target) => converted(value, target),
            None if value.is_null() => Err("the value is null".to_owned()),
            None => Ok(value),
        }
    }

    /// Whether scale and offset change nothing.
    #[expect(clippy::float_cmp, reason = "1 and 0 as written mean that nothing is to be done")]
    pub(in crate::mapping) fn is_linear_identity(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    fn arithmetic(&self, value: Json) -> Result<Json, String> {
        if self.is_linear_identity() && self.round.is_none() {
            return Ok(value);
        }
        let number = match &value {
            Json::Number(number) => number,
            // Rounding what is no number is harmless; scaling it is not.
            _ if self.is_linear_identity() => return Ok(value),
            other => return Err(format!("scale and offset need a number, this is {}", described(other))),
        };
        if self.is_linear_identity() && !number.is_f64() {
            return Ok(value);
        }
        let scaled = number.as_f64().unwrap_or(f64::NAN) * self.scale + self.offset;
        let rounded = self.round.map_or(scaled, |decimals| rounded(scaled, decimals));
        let integral = !number.is_f64() && self.scale.fract() == 0.0 && self.offset.fract() == 0.0;
        if integral && rounded.abs() <= MAX_EXACT {
            return Ok((rounded as i64).into());
        }
        finite(rounded)
    }

    fn named(&self, value: Json) -> Json {
        if self.names.is_empty() {
            return value;
        }
        let name = match &value {
            Json::Number(number) => self.names.get(&plain(number)),
            Json::Bool(flag) => self
                .names
                .get(if *flag { "1" } else { "0" })
                .or_else(|| self.names.get(if *flag { "true" } else { "false" })),
            Json::String(text) => self.names.get(text),
            _ => None,
        };
        name.map_or(value, |name| name.as_str().into())
    }

    /// What to write so that applying everything gives `value` again; `as` has no part in it.
    ///
    /// # Errors
    /// In words, if the value is neither a name nor a number where one is needed.
    pub(in crate::mapping) fn reversed(&self, value: &Json) -> Result<Json, String> {
        let mut value = value.clone();
        if !self.names.is_empty()
            && let Some(text) = value.as_str()
        {
            let Some((number, _)) = self.names.iter().find(|(_, name)| name.as_str() == text) else {
                let known: Vec<&str> = self.names.values().map(String::as_str).collect();
                return Err(format!("\"{text}\" is none of {}", known.join(", ")));
            };
            value = match number.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => serde_json::from_str(number).unwrap_or_else(|_| number.as_str().into()),
            };
        }
        if self.is_linear_identity() && self.round.is_none() {
            return Ok(value);
        }
        let Some(number) = value.as_f64() else {
            return if self.is_linear_identity() {
                Ok(value)
            } else {
                Err(format!("expected a number, found {}", described(&value)))
            };
        };
        if self.is_linear_identity() && !value.is_f64() {
            return Ok(value);
        }
        let raw = (number - self.offset) / self.scale;
        // A factor such as 0.1 leaves 2999.9999999999995 behind; nothing that a device knows is finer than this.
        finite(self.round.map_or_else(|| rounded(raw, 9), |decimals| rounded(raw, decimals)))
    }
}

fn finite(number: f64) -> Result<Json, String> {
    Number::from_f64(number).map(Json::from).ok_or_else(|| "the number is not finite".to_owned())
}

fn rounded(number: f64, decimals: u8) -> f64 {
    let factor = 10_f64.powi(i32::from(decimals));
    let shifted = number * factor;
    // Beyond 2^53 there are no decimals to round, and the shifted number may not be finite.
    if shifted.abs() > MAX_EXACT || !shifted.is_finite() {
        return number;
    }
    // Adding zero turns -0 into 0.
    shifted.round() / factor + 0.0
}

/// A number as it stands in `names`: integers without fraction.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= MAX_EXACT => {
            (float as i64).to_string()
        }
        _ => number.to_string(),
    }
}

fn converted(value: Json, target: Target) -> Result<Json, String> {
    let failed = |value: &Json, wanted: &str| Err(format!("{} cannot become {wanted}", described(value)));
    let parsed = match (&value, target) {
        (Json::String(text), Target::Integer | Target::Float | Target::Rfc3339) => {
            text.trim().parse::<i64>().map(Json::from).ok().or_else(|| {
                let number = text.trim().parse::<f64>().ok()?;
                Number::from_f64(number).map(Json::from)
            })
        }
        (Json::Bool(flag), Target::Integer | Target::Float) => Some(i64::from(*flag).into()),
        (Json::Number(_), _) => Some(value.clone()),
        _ => None,
    };
    match target {
        Target::Integer => match parsed.as_ref().map(|number| (integral(number), number)) {
            Some((Some(integer), _)) => Ok(integer),
            _ => failed(&value, "an integer"),
        },
        Target::Float => match parsed.and_then(|number| number.as_f64()) {
            Some(number) => finite(number),
            None => failed(&value, "a number"),
        },
        Target::Boolean => match &value {
            Json::Bool(_) => Ok(value),
            Json::Number(number) => Ok((number.as_f64() != Some(0.0)).into()),
            Json::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "on" | "yes" => Ok(true.into()),
                "0" | "false" | "off" | "no" => Ok(false.into()),
                _ => failed(&value, "true or false"),
            },
            _ => failed(&value, "true or false"),
        },
        Target::String => match value {
            Json::String(_) => Ok(value),
            Json::Null => failed(&value, "a string"),
            other => Ok(other.to_string().into()),
        },
        Target::Rfc3339 => match parsed.and_then(|number| number.as_f64()) {
            #[expect(clippy::cast_precision_loss, reason = "both bounds are far below 2^53")]
            Some(secs) if secs >= MIN_RFC3339_SECS as f64 && secs <= MAX_RFC3339_SECS as f64 => {
                Ok(WallTime::from_millis((secs * 1_000.0).round() as i64).to_rfc3339().into())
            }
            _ => failed(&value, "a time; it must be seconds since 1970"),
        },
    }
}

fn integral(number: &Json) -> Option<Json> {
    if number.is_i64() || number.is_u64() {
        return Some(number.clone());
    }
    let rounded = number.as_f64()?.round();
    (rounded.abs() <= MAX_EXACT).then(|| Json::from(rounded as i64))
}

fn described(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        Json::String(text) => format!("\"{}\"", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conversion(scale: f64, offset: f64, round: Option<u8>) -> Conversion {
        Conversion { scale, offset, round, ..Conversion::default() }
    }

    fn into(target: Target, value: Json) -> Result<Json, String> {
        Conversion { target: Some(target), ..Conversion::default() }.apply(value)
    }

    #[test]
    fn numbers_are_scaled_then_rounded() {
        assert_eq!(conversion(1.0, 0.0, Some(2)).apply(json!(21.456)), Ok(json!(21.46)));
        assert_eq!(conversion(0.001, 0.0, Some(3)).apply(json!(3_612)), Ok(json!(3.612)));
        assert_eq!(conversion(1.8, 32.0, Some(1)).apply(json!(20.0)), Ok(json!(68.0)));
        assert_eq!(conversion(10.0, -5.0, None).apply(json!(3)), Ok(json!(25)));
        assert_eq!(conversion(1.0, 0.0, Some(1)).apply(json!(-0.01)).unwrap().to_string(), "0.0");
        assert_eq!(conversion(1.0, 0.0, Some(15)).apply(json!(1e300)), Ok(json!(1e300)));
        assert_eq!(conversion(1.0, 0.0, Some(2)).apply(json!(u64::MAX)), Ok(json!(u64::MAX)));
    }

    #[test]
    fn what_cannot_be_scaled_or_overflows_fails() {
        assert!(conversion(2.0, 0.0, None).apply(json!("warm")).unwrap_err().contains("\"warm\""));
        assert!(conversion(1e300, 0.0, None).apply(json!(1e300)).unwrap_err().contains("finite"));
        assert!(Conversion::default().apply(Json::Null).is_err());
    }

    #[test]
    fn names_stand_for_numbers_and_booleans() {
        let names = [("0", "off"), ("1", "on")].map(|(number, name)| (number.to_owned(), name.to_owned()));
        let conversion = Conversion { names: names.into(), ..Conversion::default() };
        assert_eq!(conversion.apply(json!(1)), Ok(json!("on")));
        assert_eq!(conversion.apply(json!(0.0)), Ok(json!("off")));
        assert_eq!(conversion.apply(json!(true)), Ok(json!("on")));
        assert_eq!(conversion.apply(json!(7)), Ok(json!(7)));
        assert_eq!(conversion.reversed(&json!("on")), Ok(json!(1)));
        assert!(conversion.reversed(&json!("dim")).unwrap_err().contains("off, on"));
    }

    #[test]
    fn results_get_the_wanted_type() {
        assert_eq!(into(Target::Integer, json!(21.5)), Ok(json!(22)));
        assert_eq!(into(Target::Integer, json!("42")), Ok(json!(42)));
        assert_eq!(into(Target::Integer, json!(true)), Ok(json!(1)));
        assert_eq!(into(Target::Float, json!(5)).unwrap().to_string(), "5.0");
        assert_eq!(into(Target::Float, json!("2.5")), Ok(json!(2.5)));
        assert_eq!(into(Target::Boolean, json!(2)), Ok(json!(true)));
        assert_eq!(into(Target::Boolean, json!("Off")), Ok(json!(false)));
        assert_eq!(into(Target::String, json!(1.5)), Ok(json!("1.5")));
        assert_eq!(into(Target::Rfc3339, json!(1_700_000_000)), Ok(json!("2023-11-14T22:13:20.000Z")));
        for (target, value) in [
            (Target::Integer, json!("x")),
            (Target::Integer, json!(1e300)),
            (Target::Float, json!([1])),
            (Target::Boolean, json!("maybe")),
            (Target::String, Json::Null),
            (Target::Rfc3339, json!(1e15)),
        ] {
            assert!(into(target, value.clone()).is_err(), "{target:?} {value}");
        }
    }

    #[test]
    fn reversing_undoes_scale_and_offset() {
        assert_eq!(conversion(0.1, 0.0, None).reversed(&json!(30)), Ok(json!(300.0)));
        assert_eq!(conversion(1.8, 32.0, None).reversed(&json!(68)), Ok(json!(20.0)));
        assert_eq!(Conversion::default().reversed(&json!(7)), Ok(json!(7)));
        assert!(conversion(2.0, 0.0, None).reversed(&json!("x")).is_err());
    }
}
