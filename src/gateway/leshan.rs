//! What the Leshan-compatible API wants of the core beyond commands: registrations, and samples as they came.
//!
//! Outputs for its event stream are made only while [`Configuration::streams_samples`] is set.
//!
//! [`Configuration::streams_samples`]: super::configuration::Configuration::streams_samples

use std::time::Duration;

use super::core::Core;
use super::devices::Devices;
use super::devices::device::Device;
use super::devices::observation::Target;
use super::services::Services;
use super::vocabulary::{Answer, Output};
use crate::model::event::EventKind;
use crate::model::report::Sample;
use crate::northbound::leshan::Registration;

impl Core {
    /// All registrations by endpoint, or that of one endpoint.
    pub(super) fn registrations(&mut self, endpoint: Option<&str>) -> Answer {
        let (services, devices, _) = self.parts();
        if let Some(endpoint) = endpoint {
            let device = devices.key_of_endpoint(endpoint).and_then(|key| devices.table.get(key));
            let registration = device.and_then(|device| registration(device, services));
            return registration.map_or(Answer::UnknownDevice, |registration| Answer::Body(registration.to_json()));
        }
        let mut all: Vec<Registration> =
            devices.table.iter().filter_map(|(_, device)| registration(device, services)).collect();
        all.sort_unstable_by(|one, other| one.endpoint.cmp(&other.endpoint));
        Answer::Body(all.iter().map(Registration::to_json).collect())
    }
}

impl Devices {
    /// Tells the event stream of a registration that begins, is updated, or is about to end.
    pub(super) fn tell_registration(&self, services: &mut Services, key: usize, kind: EventKind) {
        if !services.configuration.streams_samples {
            return;
        }
        let registration = self.table.get(key).and_then(|device| registration(device, services));
        if let Some(registration) = registration {
            services.outputs.push_back(Output::Registration { kind, registration: Box::new(registration) });
        }
    }

    /// Tells the event stream what a device reported by itself: by an observation of `observed`, or by a Send.
    pub(super) fn tell_samples(
        &self,
        services: &mut Services,
        key: usize,
        observed: Option<&Target>,
        samples: &[Sample],
    ) {
        if !services.configuration.streams_samples || samples.is_empty() {
            return;
        }
        if let Some(device) = self.table.get(key) {
            let (endpoint, samples) = (device.endpoint.clone(), samples.to_vec());
            let observed = observed.cloned();
            services.outputs.push_back(Output::Samples { endpoint, observed, samples });
        }
    }
}

fn registration(device: &Device, services: &Services) -> Option<Registration> {
    let registration = device.registration.as_ref()?;
    let grace = services.configuration.lwm2m.lifetime_grace;
    // Each Register and Update moves the end of the lifetime, so that the end tells when the last one was.
    let updated_at = match (registration.expires_at, registration.lifetime) {
        (Some(expires_at), Some(lifetime)) => {
            let ahead = u64::try_from((lifetime + grace).as_millis()).unwrap_or(u64::MAX);
            let expires_at = services.clock.at(expires_at);
            expires_at
                .shifted(i64::try_from(ahead).unwrap_or(i64::MAX).saturating_neg())
                .max(registration.registered_at)
        }
        _ => registration.registered_at,
    };
    Some(Registration {
        endpoint: device.endpoint.as_str().to_owned(),
        id: registration.location.clone(),
        registered_at: registration.registered_at,
        updated_at,
        address: device.alternate_peer.unwrap_or(device.peer).remote,
        sms: registration.sms.clone(),
        version: registration.version.to_string(),
        lifetime_secs: registration.lifetime.as_ref().map_or(0, Duration::as_secs),
        binding: registration.binding.clone(),
        root: registration.root.clone(),
        formats: registration.formats.clone(),
        objects: device.facts.objects.clone(),
        secure: device.facts.identity.is_some(),
        parameters: registration.parameters.clone(),
        queue_mode: device.in_queue_mode(),
        sleeping: !device.listens(services.now),
    })
}
