//! Notification attributes (Core TS 1.2.2 section 5.1.2): how often and when a device reports.

use std::collections::BTreeMap;

/// The attributes that a server may set; `None` leaves the device's own.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NotificationAttributes {
    /// Least seconds between notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pmin: Option<u32>,
    /// Most seconds between notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pmax: Option<u32>,
    /// Notify when this is crossed (upper threshold).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<f64>,
    /// Notify when this is crossed (lower threshold).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<f64>,
    /// Notify on a change of at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub st: Option<f64>,
    /// Least seconds between evaluations (1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epmin: Option<u32>,
    /// Most seconds between evaluations (1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epmax: Option<u32>,
    /// Notify on the falling (0) or rising (1) edge of a boolean (1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<u32>,
    /// Confirmable notifications (1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub con: Option<u32>,
    /// Entries that a device keeps while it cannot notify (1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hqmax: Option<u32>,
}

impl NotificationAttributes {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The attributes as Uri-Query arguments, in one fixed order.
    #[must_use]
    pub fn to_query(&self) -> Vec<String> {
        let integers = [("pmin", self.pmin), ("pmax", self.pmax)];
        let numbers = [("gt", self.gt), ("lt", self.lt), ("st", self.st)];
        let later = [
            ("epmin", self.epmin),
            ("epmax", self.epmax),
            ("edge", self.edge),
            ("con", self.con),
            ("hqmax", self.hqmax),
        ];
        let integer = |(name, value): (&str, Option<u32>)| value.map(|value| format!("{name}={value}"));
        integers
            .into_iter()
            .filter_map(integer)
            .chain(numbers.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))))
            .chain(later.into_iter().filter_map(integer))
            .collect()
    }

    /// The attributes of a command, where null removes one: Uri-Query arguments, `name` alone for a removal.
    ///
    /// # Errors
    /// For unknown names, values that are no number, and combinations that Core TS 1.2.2 section 5.1.2 forbids; the
    /// text names the attribute.
    pub fn query_of_command(attributes: &BTreeMap<String, serde_json::Value>) -> Result<Vec<String>, String> {
        if attributes.is_empty() {
            return Err("attributes is empty".to_owned());
        }
        let mut query = Vec::with_capacity(attributes.len());
        for (name, value) in attributes {
            let fractional = matches!(name.as_str(), "gt" | "lt" | "st");
            let integral = matches!(name.as_str(), "pmin" | "pmax" | "epmin" | "epmax" | "edge" | "con" | "hqmax");
            if !fractional && !integral {
                return Err(format!("attributes.{name} is no notification attribute"));
            }
            query.push(match value {
                serde_json::Value::Null => name.clone(),
                serde_json::Value::Number(number) if fractional => format!("{name}={number}"),
                serde_json::Value::Number(number)
                    if number.as_u64().is_some_and(|value| u32::try_from(value).is_ok()) =>
                {
                    format!("{name}={number}")
                }
                _ if fractional => return Err(format!("attributes.{name} is no number")),
                _ => return Err(format!("attributes.{name} is no integer from 0 to 4294967295")),
            });
        }
        let number = |name: &str| attributes.get(name).and_then(serde_json::Value::as_f64);
        Self::check_order(number("lt"), number("gt"), number("st"), number("epmin"), number("epmax"))?;
        Ok(query)
    }

    /// The relations between attributes that Core TS 1.2.2 section 5.1.2 demands.
    ///
    /// # Errors
    /// Names the relation that does not hold.
    pub fn check(&self) -> Result<(), String> {
        Self::check_order(self.lt, self.gt, self.st, self.epmin.map(f64::from), self.epmax.map(f64::from))
    }

    fn check_order(
        lt: Option<f64>,
        gt: Option<f64>,
        st: Option<f64>,
        epmin: Option<f64>,
        epmax: Option<f64>,
    ) -> Result<(), String> {
        if st.is_some_and(|st| st < 0.0) {
            return Err("st must not be negative".to_owned());
        }
        if let (Some(lt), Some(gt)) = (lt, gt) {
            if lt >= gt {
                return Err("lt must be less than gt".to_owned());
            }
            if st.is_some_and(|st| lt + 2.0 * st >= gt) {
                return Err("lt + 2 * st must be less than gt".to_owned());
            }
        }
        if let (Some(epmin), Some(epmax)) = (epmin, epmax)
            && epmin >= epmax
        {
            return Err("epmin must be less than epmax".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attributes_become_one_query() {
        let attributes = NotificationAttributes { pmin: Some(5), pmax: Some(60), gt: Some(30.5), ..Default::default() };
        assert_eq!(attributes.to_query(), ["pmin=5", "pmax=60", "gt=30.5"]);
    }

    #[test]
    fn a_command_may_set_and_remove_and_errors_name_the_attribute() {
        let map =
            |json: serde_json::Value| serde_json::from_value::<BTreeMap<String, serde_json::Value>>(json).unwrap();
        let query = NotificationAttributes::query_of_command(&map(json!({"pmin": 5, "gt": null, "st": -0.0})));
        assert_eq!(query.unwrap(), ["gt", "pmin=5", "st=-0.0"]);
        for (attributes, named) in [
            (json!({"speed": 1}), "speed"),
            (json!({"pmin": -1}), "pmin"),
            (json!({"gt": "x"}), "gt"),
            (json!({"gt": 1, "lt": 2}), "lt must be less"),
            (json!({}), "empty"),
        ] {
            let refused = NotificationAttributes::query_of_command(&map(attributes)).unwrap_err();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
