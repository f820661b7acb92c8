//! `observe`: notification attributes, or none, of `[defaults]` and rules.

use std::time::Duration;

use crate::mapping::file::keys::OBSERVE;
use crate::mapping::file::{Diagnostics, Section};
use crate::model::attributes::NotificationAttributes;
use crate::model::units::format_duration;

/// Least seconds between notifications where nothing says otherwise: some devices otherwise notify each second until
/// their memory is full.
const DEFAULT_PMIN_SECS: u32 = 1;

/// Most seconds between notifications where nothing says otherwise.
const DEFAULT_PMAX_SECS: u32 = 60;

/// What `observe` says.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mapping) struct ObserveView {
    /// `false`: no observation.
    enabled: bool,
    attributes: NotificationAttributes,
}

impl ObserveView {
    /// What holds where nothing is said.
    pub(super) fn built_in() -> Self {
        let attributes = NotificationAttributes {
            pmin: Some(DEFAULT_PMIN_SECS),
            pmax: Some(DEFAULT_PMAX_SECS),
            ..NotificationAttributes::default()
        };
        Self { enabled: true, attributes }
    }

    /// This with what it leaves open taken from `base`. A period of the base that contradicts this one is left out.
    pub(super) fn over(&self, base: &Self) -> Self {
        let (own, base) = (&self.attributes, &base.attributes);
        let mut attributes = NotificationAttributes {
            pmin: own.pmin.or(base.pmin),
            pmax: own.pmax.or(base.pmax),
            gt: own.gt.or(base.gt),
            lt: own.lt.or(base.lt),
            st: own.st.or(base.st),
            epmin: own.epmin.or(base.epmin),
            epmax: own.epmax.or(base.epmax),
            edge: own.edge.or(base.edge),
            con: own.con.or(base.con),
            hqmax: own.hqmax.or(base.hqmax),
        };
        if attributes.pmin > attributes.pmax && attributes.pmax.is_some() {
            if own.pmax.is_none() {
                attributes.pmax = None;
            } else {
                attributes.pmin = own.pmin;
            }
        }
        Self { enabled: self.enabled, attributes }
    }

    /// The attributes to write; `None`: no observation.
    pub(super) fn into_attributes(self) -> Option<NotificationAttributes> {
        self.enabled.then_some(self.attributes)
    }

    /// Whether thresholds are set, which only numbers have.
    pub(super) fn has_thresholds(&self) -> bool {
        self.attributes.gt.is_some() || self.attributes.lt.is_some() || self.attributes.st.is_some()
    }
}

/// Reads the key `observe` of a section; `None` if it is absent or wrong.
pub(super) fn view(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<ObserveView> {
    let value = section.raw("observe")?;
    if let Some(enabled) = value.get_ref().as_bool() {
        return Some(ObserveView { enabled, attributes: NotificationAttributes::default() });
    }
    let Some(table) = value.get_ref().as_table() else {
        section.mismatch("observe", value, "a table such as { pmin = \"5s\", pmax = \"5m\" }, or false", diagnostics);
        return None;
    };
    let offset = value.span().start;
    let table = Section::check(&OBSERVE, offset, table, diagnostics);
    let mut period = |key: &str| {
        let duration = table.duration(key, diagnostics)?;
        let secs = whole_seconds(duration.value);
        if duration.value.subsec_nanos() != 0 {
            let message =
                format!("observe.{key} is \"{}\", devices take whole seconds", format_duration(duration.value));
            diagnostics.warning(duration.offset, message, format!("{secs}s is used; write whole seconds"));
        }
        Some(secs)
    };
    let (pmin, pmax, epmin, epmax) = (period("pmin"), period("pmax"), period("epmin"), period("epmax"));
    let mut number = |key: &str| table.number(key, diagnostics).map(|number| number.value);
    let (gt, lt, st) = (number("gt"), number("lt"), number("st"));
    let mut integer = |key: &str, max: i64| {
        table.integer(key, 0..=max, diagnostics).and_then(|number| u32::try_from(number.value).ok())
    };
    let (edge, con, hqmax) = (integer("edge", 1), integer("con", 1), integer("hqmax", i64::from(u32::MAX)));
    let attributes = NotificationAttributes { pmin, pmax, gt, lt, st, epmin, epmax, edge, con, hqmax };
    if let Err(problem) = attributes.check() {
        diagnostics.error(offset, format!("observe in {}: {problem}", section.keys.name), "");
    }
    if let (Some(pmin), Some(pmax)) = (pmin, pmax)
        && pmin > pmax
    {
        let message = format!("observe in {}: pmin {pmin}s is more than pmax {pmax}s", section.keys.name);
        diagnostics.error(offset, message, "a device cannot keep both; raise pmax or lower pmin");
    }
    Some(ObserveView { enabled: true, attributes })
}

fn whole_seconds(duration: Duration) -> u32 {
    let secs = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() != 0));
    u32::try_from(secs).unwrap_or(u32::MAX)
}
