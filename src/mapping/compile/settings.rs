//! `[settings]` and `[defaults]`.

use super::observe::{self, ObserveView};
use crate::mapping::compile::unknown_word;
use crate::mapping::file::section::integer;
use crate::mapping::file::{Diagnostics, Section};
use crate::mapping::plan::{DeviceSettings, ObserveStrategy, QueueMode};

/// Content formats by name, with their CoAP numbers (RFC 7252 section 12.3, Core TS 1.2.2 section 7.4).
const FORMATS: [(&str, u16); 9] = [
    ("text", 0),
    ("link", 40),
    ("opaque", 42),
    ("cbor", 60),
    ("senml-json", 110),
    ("senml-cbor", 112),
    ("tlv", 11_542),
    ("json", 11_543),
    ("lwm2m-cbor", 11_544),
];

/// What the rules of a file do unless they say otherwise.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Defaults {
    pub(in crate::mapping) observe: ObserveView,
    pub(in crate::mapping) strategy: ObserveStrategy,
}

impl Defaults {
    /// Compiles the section; without it the built-in defaults.
    pub(super) fn compile(section: Option<&Section<'_>>, diagnostics: &mut Diagnostics) -> Self {
        let mut defaults = Self { observe: ObserveView::built_in(), strategy: ObserveStrategy::default() };
        let Some(section) = section else { return defaults };
        if let Some(own) = observe::view(section, diagnostics) {
            defaults.observe = own.over(&defaults.observe);
        }
        if let Some(named) = section.text("observe_strategy", diagnostics) {
            let known = ObserveStrategy::NAMES.iter().find(|(name, _)| *name == named.value);
            defaults.strategy = known.map(|(_, strategy)| *strategy).unwrap_or_default();
        }
        defaults
    }
}

/// Compiles `[settings]`; the queue mode apart, because "auto" and nothing said are different.
pub(super) fn compile(section: &Section<'_>, diagnostics: &mut Diagnostics) -> (DeviceSettings, Option<QueueMode>) {
    let queue_mode =
        section.text("queue_mode", diagnostics).map(|mode| QueueMode::parse(mode.value).unwrap_or_default());
    let mut duration = |key: &str| {
        let duration = section.duration(key, diagnostics)?;
        if duration.value.is_zero() {
            diagnostics.error(duration.offset, format!("{key} in [settings] is zero"), "write a time such as \"10s\"");
        }
        Some(duration.value)
    };
    let (awake_window, ack_timeout) = (duration("awake_window"), duration("ack_timeout"));
    let write_format = format(section, diagnostics);
    let settings =
        DeviceSettings { queue_mode: queue_mode.unwrap_or_default(), awake_window, ack_timeout, write_format };
    (settings, queue_mode)
}

fn format(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<u16> {
    let value = section.raw("write_format")?;
    let offset = value.span().start;
    if let Some(name) = value.get_ref().as_str() {
        let known = FORMATS.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            let hint = unknown_word(name, &FORMATS.map(|(name, _)| name));
            diagnostics.error(
                offset,
                format!("write_format in [settings]: no content format is called \"{name}\""),
                hint,
            );
        }
        return known.map(|(_, number)| *number);
    }
    let number = integer(value.get_ref()).and_then(|number| u16::try_from(number).ok());
    if number.is_none() {
        section.mismatch("write_format", value, "a content format by name or number", diagnostics);
    }
    number
}
