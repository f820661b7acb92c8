//! A SenML record: its labels, its fields as they stand, and with base fields applied (RFC 8428 sections 4.3 to 4.6).

use std::borrow::Cow;

use super::quirk::Quirks;
use super::scalar::{Number, Scalar, Wire};
use super::{ContentError, spelling};

/// The newest SenML version that is understood (RFC 8428 section 4.4).
pub const MAX_VERSION: i64 = 10;

/// Bytes of a base name, and of a base name with a name. LwM2M needs at most 24 and the alternate root.
pub const MAX_NAME_BYTES: usize = 255;

/// The fields that SenML defines (RFC 8428 section 4.3), and `vlo` of LwM2M.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    BaseVersion,
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseSum,
    Name,
    Unit,
    Value,
    TextValue,
    BooleanValue,
    Sum,
    Time,
    UpdateTime,
    DataValue,
    LinkValue,
}

impl Label {
    const ALL: [(&'static str, Option<i64>, Self); 16] = [
        ("bver", Some(-1), Self::BaseVersion),
        ("bn", Some(-2), Self::BaseName),
        ("bt", Some(-3), Self::BaseTime),
        ("bu", Some(-4), Self::BaseUnit),
        ("bv", Some(-5), Self::BaseValue),
        ("bs", Some(-6), Self::BaseSum),
        ("n", Some(0), Self::Name),
        ("u", Some(1), Self::Unit),
        ("v", Some(2), Self::Value),
        ("vs", Some(3), Self::TextValue),
        ("vb", Some(4), Self::BooleanValue),
        ("s", Some(5), Self::Sum),
        ("t", Some(6), Self::Time),
        ("ut", Some(7), Self::UpdateTime),
        ("vd", Some(8), Self::DataValue),
        ("vlo", None, Self::LinkValue),
    ];

    /// The label of a JSON member; `None` if SenML does not define it.
    ///
    /// # Errors
    /// If the name ends in `_`: whoever does not know such a field must refuse the pack (RFC 8428 section 4.4).
    pub(super) fn from_name(name: &str) -> Result<Option<Self>, ContentError> {
        if name.ends_with('_') {
            return Err(ContentError::malformed(format!("field {} must be understood and is not", shortened(name))));
        }
        Ok(Self::ALL.iter().find(|(known, _, _)| *known == name).map(|(_, _, label)| *label))
    }

    /// The label of a CBOR key (RFC 8428 table 4).
    pub(super) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == Some(number)).map(|(_, _, label)| *label)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, _, label)| *label == self).map_or("", |(name, _, _)| name)
    }
}

/// A record as it stands in the pack. Sums and update times are checked and not kept: LwM2M gives them no meaning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record<'p> {
    /// `bver`, 1 to [`MAX_VERSION`].
    pub base_version: Option<i64>,
    /// `bn`.
    pub base_name: Option<Cow<'p, str>>,
    /// `bt`, in seconds.
    pub base_time: Option<Number>,
    /// `bu`.
    pub base_unit: Option<Cow<'p, str>>,
    /// `bv`.
    pub base_value: Option<Number>,
    /// `n`.
    pub name: Option<Cow<'p, str>>,
    /// `u`.
    pub unit: Option<Cow<'p, str>>,
    /// `t`, in seconds.
    pub time: Option<Number>,
    /// `v`, `vs`, `vb`, `vd` or `vlo`; `v` may be null in a patch.
    pub value: Option<Scalar<'p>>,
    labels: u16,
}

impl<'p> Record<'p> {
    /// Sets a field; `field` is `None` for arrays, maps and the like, which no label takes.
    pub(super) fn set(
        &mut self,
        label: Label,
        field: Option<Scalar<'p>>,
        wire: Wire,
        quirks: &mut Quirks,
    ) -> Result<(), ContentError> {
        if self.labels & label.bit() != 0 {
            return Err(ContentError::malformed(format!("field {} stands twice in a record", label.name())));
        }
        self.labels |= label.bit();
        let wrong = || ContentError::malformed(format!("field {} has a value of the wrong type", label.name()));
        let field = field.ok_or_else(wrong)?;
        let value = match (label, field) {
            (Label::BaseVersion, Scalar::Number(Number::Signed(version @ 1..=MAX_VERSION))) => {
                self.base_version = Some(version);
                return Ok(());
            }
            (Label::BaseVersion, Scalar::Number(_)) => {
                return Err(ContentError::malformed(format!("bver is not 1 to {MAX_VERSION}")));
            }
            (Label::BaseName, Scalar::Text(text)) => {
                self.base_name = Some(text);
                return Ok(());
            }
            (Label::BaseUnit, Scalar::Text(text)) => {
                self.base_unit = Some(text);
                return Ok(());
            }
            (Label::Name, Scalar::Text(text)) => {
                self.name = Some(text);
                return Ok(());
            }
            (Label::Unit, Scalar::Text(text)) => {
                self.unit = Some(text);
                return Ok(());
            }
            (Label::BaseTime | Label::Time | Label::UpdateTime | Label::BaseValue | Label::BaseSum | Label::Sum, field) => {
                let number = match field {
                    Scalar::Number(number) => number,
                    Scalar::Time(seconds) => Number::Signed(seconds),
                    _ => return Err(wrong()),
                };
                match label {
                    Label::BaseTime => self.base_time = Some(number),
                    Label::Time => self.time = Some(number),
                    Label::BaseValue => self.base_value = Some(number),
                    _ => {}
                }
                return Ok(());
            }
            (Label::Value, value @ (Scalar::Number(_) | Scalar::Null | Scalar::Time(_)))
            // The date text of tag 0, which LwM2M 1.1 allows for Time.
            | (Label::TextValue, value @ (Scalar::Text(_) | Scalar::Time(_)))
            | (Label::BooleanValue, value @ Scalar::Boolean(_))
            | (Label::DataValue, value @ Scalar::Bytes(_)) => value,
            (Label::DataValue, Scalar::Text(text)) if wire == Wire::SenmlJson => {
                let bytes = spelling::decode_base64(&text, true, quirks)
                    .ok_or_else(|| ContentError::malformed("field vd is no base64"))?;
                Scalar::Bytes(Cow::Owned(bytes))
            }
            (Label::LinkValue, Scalar::Text(text)) => {
                let (object, instance) = spelling::parse_link(&text, quirks).ok_or_else(|| {
                    ContentError::malformed(format!("field vlo is no object link such as 3:0: {}", shortened(&text)))
                })?;
                Scalar::Link(object, instance)
            }
            _ => return Err(wrong()),
        };
        if self.value.is_some() {
            return Err(ContentError::malformed("a record has more than one value"));
        }
        self.value = Some(value);
        Ok(())
    }

    pub(super) fn sets_only_base_fields(&self) -> bool {
        let base = [Label::BaseVersion, Label::BaseName, Label::BaseTime, Label::BaseUnit, Label::BaseValue];
        let all = base.iter().fold(Label::BaseSum.bit(), |bits, label| bits | label.bit());
        self.labels != 0 && self.labels & !all == 0
    }
}

/// A record with the base fields applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved<'p> {
    /// Base name and name.
    pub name: String,
    /// Base time and time, in seconds; `None` if neither was given, which means now.
    pub seconds: Option<f64>,
    /// The value, with the base value added to a number.
    pub value: Option<Scalar<'p>>,
}

/// Applies base fields record by record (RFC 8428 section 4.6).
#[derive(Debug, Default)]
pub struct Resolver {
    name: String,
    time: Option<Number>,
    value: Option<Number>,
}

impl Resolver {
    /// The next record of the pack with all base fields that are in force.
    ///
    /// # Errors
    /// If the name is longer than [`MAX_NAME_BYTES`].
    pub fn resolve<'p>(&mut self, record: Record<'p>) -> Result<Resolved<'p>, ContentError> {
        if let Some(base_name) = record.base_name {
            self.name = base_name.into_owned();
        }
        self.time = record.base_time.or(self.time);
        self.value = record.base_value.or(self.value);
        let own_name = record.name.unwrap_or_default();
        if self.name.len().saturating_add(own_name.len()) > MAX_NAME_BYTES {
            return Err(ContentError::malformed(format!("a name is longer than {MAX_NAME_BYTES} bytes")));
        }
        let seconds = match (self.time, record.time) {
            (Some(base), Some(own)) => Some(base.plus(own).as_f64()),
            (base, own) => base.or(own).map(Number::as_f64),
        };
        let value = match (record.value, self.value) {
            (Some(Scalar::Number(number)), Some(base)) => Some(Scalar::Number(base.plus(number))),
            (value, _) => value,
        };
        Ok(Resolved { name: format!("{}{own_name}", self.name), seconds, value })
    }
}

/// At most 40 characters of what a payload said, for messages.
pub(super) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 40;
    let mut short: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    format!("'{short}'")
}
