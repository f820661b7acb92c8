//! Registrations in Leshan's JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value as Json, json};

use crate::model::report::RegisteredObject;
use crate::model::time::WallTime;

/// What is told of a registration.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Endpoint name.
    pub endpoint: String,
    /// Second part of the location.
    pub id: String,
    /// When it began.
    pub registered_at: WallTime,
    /// The last Register or Update.
    pub updated_at: WallTime,
    /// Where the device is.
    pub address: SocketAddr,
    /// `sms`.
    pub sms: Option<String>,
    /// `lwm2m`.
    pub version: String,
    /// Seconds; 0 for one that never ends.
    pub lifetime_secs: u64,
    /// `b`; absent means U.
    pub binding: Option<String>,
    /// Alternate root path, or empty.
    pub root: String,
    /// Content formats of the root link.
    pub formats: Vec<u16>,
    /// Objects with their versions and instances.
    pub objects: BTreeMap<u16, RegisteredObject>,
    /// Whether the device is authenticated.
    pub secure: bool,
    /// Parameters that the standard does not know.
    pub parameters: BTreeMap<String, String>,
    /// Whether queue mode applies.
    pub queue_mode: bool,
    /// Whether it sleeps now.
    pub sleeping: bool,
}

impl Registration {
    /// The registration as `/clients` and the events have it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let instances: Map<String, Json> = self
            .objects
            .iter()
            .filter(|(_, object)| !object.instances.is_empty())
            .map(|(id, object)| (id.to_string(), json!(object.instances)))
            .collect();
        let mut json = json!({
            "endpoint": self.endpoint,
            "registrationId": self.id,
            "registrationDate": self.registered_at.millis(),
            "lastUpdate": self.updated_at.millis(),
            "address": self.address(),
            "lwM2mVersion": self.version,
            "lifetime": self.lifetime_secs,
            "bindingMode": self.binding.as_deref().unwrap_or("U"),
            "rootPath": if self.root.is_empty() { "/" } else { &self.root },
            "objectLinks": self.links(),
            "secure": self.secure,
            "additionalRegistrationAttributes": self.parameters,
            "queuemode": self.queue_mode,
            "availableInstances": instances,
        });
        if let Some(sms) = &self.sms {
            json["smsNumber"] = sms.as_str().into();
        }
        if self.queue_mode {
            json["sleeping"] = self.sleeping.into();
        }
        json
    }

    /// What an Update is told to have brought: all that is in force, because what it left out is not kept apart.
    #[must_use]
    pub fn update_json(&self) -> Json {
        let mut json = json!({
            "registrationId": self.id,
            "address": self.address(),
            "lifetime": self.lifetime_secs,
            "objectLinks": self.links(),
            "secure": self.secure,
            "additionalAttributes": self.parameters,
        });
        if let Some(sms) = &self.sms {
            json["smsNumber"] = sms.as_str().into();
        }
        json
    }

    /// `ADDRESS:PORT` without the brackets of IPv6, which Java leaves out.
    fn address(&self) -> String {
        format!("{}:{}", self.address.ip(), self.address.port())
    }

    fn links(&self) -> Json {
        let mut links = Vec::new();
        let link = |url: String, attributes: Json| json!({ "url": url, "attributes": attributes });
        if !self.formats.is_empty() || !self.root.is_empty() {
            let mut attributes = json!({ "rt": "\"oma.lwm2m\"" });
            let formats: Vec<String> = self.formats.iter().map(u16::to_string).collect();
            match formats.as_slice() {
                [] => {}
                [one] => attributes["ct"] = one.as_str().into(),
                several => attributes["ct"] = format!("\"{}\"", several.join(" ")).into(),
            }
            links.push(link(if self.root.is_empty() { "/".to_owned() } else { self.root.clone() }, attributes));
        }
        let root = self.root.trim_end_matches('/');
        for (id, object) in &self.objects {
            if object.version.is_some() || object.instances.is_empty() {
                let version = object.version.map(|version| json!({ "ver": version.to_string() }));
                links.push(link(format!("{root}/{id}"), version.unwrap_or_else(|| json!({}))));
            }
            for instance in &object.instances {
                links.push(link(format!("{root}/{id}/{instance}"), json!({})));
            }
        }
        links.into()
    }
}
