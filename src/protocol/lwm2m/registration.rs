//! Register and Update requests (Core TS 1.2.2 sections 6.2.1 and 6.2.2): query and payload to meaning, or the code of
//! the answer that refuses them.
//!
//! Required parameters and versions are as strict as the standard, since a wrong guess would register a wrong device.
//! Everything else that devices do differently is taken and named in `quirks`: unknown parameters, a missing
//! Content-Format, `1.0.0` for `1.0`, queue mode inside `b`. Whether the endpoint name may be used, and which device an
//! Update is for, is not decided here.

use std::collections::BTreeMap;

pub use super::binding::Binding;
pub use super::object_list::ObjectList;
use super::profile_id;
use crate::model::version::Version;
use crate::protocol::coap::message::Code;
use crate::protocol::content::ContentFormat;

/// The most Uri-Query arguments of one request. The standard defines seven.
pub const MAX_PARAMETERS: usize = 32;

/// A request that is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Refused {
    /// The code of the answer.
    pub code: Code,
    /// What the device's maker has to change; never secret, may be sent as the diagnostic payload.
    pub reason: String,
}

impl Refused {
    fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(Code::BAD_REQUEST, reason)
    }
}

/// A Register request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRequest {
    /// `ep` as written, never empty; `None` where the security identity has to name the device (1.1).
    pub endpoint: Option<String>,
    /// `lt`; `None` if absent, which only 1.0 allows; 0 means that the registration never expires.
    pub lifetime_secs: Option<u64>,
    /// `lwm2m`; 1.0 if absent.
    pub version: Version,
    /// `b`.
    pub binding: Option<Binding>,
    /// Whether the device sleeps: the flag `Q`, or the letter in `b`.
    pub queue_mode: bool,
    /// `sms`: the number as written.
    pub sms: Option<String>,
    /// `pid`: profiles that stand for objects not listed in the payload.
    pub profile_ids: Vec<String>,
    /// Parameters that the standard does not define; empty values for bare names.
    pub parameters: BTreeMap<String, String>,
    /// The payload.
    pub objects: ObjectList,
    /// A fixed word for each way in which query or payload bent the standard and was tolerated.
    pub quirks: Vec<&'static str>,
}

/// An Update request; what is `None` stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateRequest {
    /// `lt`.
    pub lifetime_secs: Option<u64>,
    /// `b`.
    pub binding: Option<Binding>,
    /// Whether the device sleeps from now on; `Some` only if `b` or `Q` is there.
    pub queue_mode: Option<bool>,
    /// `sms`.
    pub sms: Option<String>,
    /// `pid`.
    pub profile_ids: Vec<String>,
    /// Parameters that the standard does not define for Update; empty values for bare names.
    pub parameters: BTreeMap<String, String>,
    /// The whole new object list.
    pub objects: Option<ObjectList>,
    /// A fixed word for each way in which query or payload bent the standard and was tolerated.
    pub quirks: Vec<&'static str>,
}

/// Reads a Register request from its Uri-Query arguments, Content-Format and payload.
///
/// # Errors
/// 4.00 for a bad or missing parameter or a broken list, 4.09 if a 1.2 device gives neither list nor profile, 4.12 for
/// a version that this server does not speak, 4.15 for another format than 40.
pub fn parse_register(
    query: &[String],
    content_format: Option<u16>,
    payload: &[u8],
) -> Result<RegisterRequest, Refused> {
    let mut query = Query::split(query)?;
    // First of all: devices step down to an older version on this answer and on no other.
    let version = query.version()?;
    let endpoint = query.take("ep")?;
    if endpoint.as_deref() == Some("") {
        return Err(Refused::bad_request("ep is empty"));
    }
    if endpoint.is_none() && version == Version::V1_0 {
        return Err(Refused::bad_request("ep is missing, which LwM2M 1.0 requires"));
    }
    let lifetime_secs = query.lifetime()?;
    if lifetime_secs.is_none() && version > Version::V1_0 {
        return Err(Refused::bad_request(format!("lt is missing, which LwM2M {version} requires")));
    }
    let (binding, queue_flag) = query.binding()?;
    let queue_mode = queue_flag || binding.as_ref().is_some_and(|binding| binding.queue);
    query.note_binding_of_other_version(version, binding.as_ref(), queue_flag);
    let sms = query.sms()?;
    let profile_ids = query.profile_ids()?;
    let objects = query.objects(content_format, payload)?;
    let objects = match objects {
        Some(objects) => objects,
        None if version < Version::V1_2 => {
            return Err(Refused::bad_request("the object list is missing"));
        }
        None if profile_ids.is_empty() => {
            return Err(Refused::new(Code::CONFLICT, "neither an object list nor a profile id: send the list"));
        }
        None => ObjectList::default(),
    };
    let (parameters, quirks) = query.rest();
    Ok(RegisterRequest {
        endpoint,
        lifetime_secs,
        version,
        binding,
        queue_mode,
        sms,
        profile_ids,
        parameters,
        objects,
        quirks,
    })
}

/// Reads an Update request from its Uri-Query arguments, Content-Format and payload.
///
/// # Errors
/// 4.00 for a bad parameter or a broken list, 4.15 for another format than 40.
pub fn parse_update(query: &[String], content_format: Option<u16>, payload: &[u8]) -> Result<UpdateRequest, Refused> {
    let mut query = Query::split(query)?;
    let lifetime_secs = query.lifetime()?;
    let (binding, queue_flag) = query.binding()?;
    let queue_mode = match &binding {
        Some(binding) => Some(binding.queue || queue_flag),
        None => queue_flag.then_some(true),
    };
    let sms = query.sms()?;
    let profile_ids = query.profile_ids()?;
    let objects = query.objects(content_format, payload)?;
    let (parameters, quirks) = query.rest();
    Ok(UpdateRequest { lifetime_secs, binding, queue_mode, sms, profile_ids, parameters, objects, quirks })
}

/// The parameters that the standard defines for Register.
const KNOWN_PARAMETERS: [&str; 7] = ["ep", "lt", "lwm2m", "b", "Q", "sms", "pid"];

/// Arguments not yet taken, and the deviations met so far.
struct Query {
    parameters: BTreeMap<String, Option<String>>,
    quirks: Vec<&'static str>,
}

impl Query {
    fn split(arguments: &[String]) -> Result<Self, Refused> {
        if arguments.len() > MAX_PARAMETERS {
            return Err(Refused::bad_request(format!("more than {MAX_PARAMETERS} parameters")));
        }
        let mut query = Self { parameters: BTreeMap::new(), quirks: Vec::new() };
        for argument in arguments {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            if argument.is_empty() {
                query.note("empty_parameter");
            } else if !query.parameters.contains_key(name) {
                query.parameters.insert(name.to_owned(), value);
            } else if KNOWN_PARAMETERS.contains(&name) {
                // Two values of `ep` or `lt` leave no telling which one the device means.
                return Err(Refused::bad_request(format!("{name} stands twice")));
            } else {
                query.note("repeated_parameter");
            }
        }
        Ok(query)
    }

    /// Removes a parameter that has to have a value.
    fn take(&mut self, name: &str) -> Result<Option<String>, Refused> {
        match self.parameters.remove(name) {
            None => Ok(None),
            Some(None) => Err(Refused::bad_request(format!("{name} has no value"))),
            Some(value) => Ok(value),
        }
    }

    fn version(&mut self) -> Result<Version, Refused> {
        let Some(text) = self.take("lwm2m")? else { return Ok(Version::V1_0) };
        let version = match text.as_str() {
            // A number 1.0 printed by a language that drops the fraction.
            "1" => {
                self.note("version_without_minor");
                Ok(Version::V1_0)
            }
            text => text.parse(),
        };
        match version {
            Ok(version @ (Version::V1_0 | Version::V1_1 | Version::V1_2)) => {
                if text.matches('.').count() > 1 {
                    self.note("version_of_three_numbers");
                }
                Ok(version)
            }
            _ => Err(Refused::new(
                Code::PRECONDITION_FAILED,
                format!("LwM2M {:?} is not supported: 1.0, 1.1 and 1.2 are", text.chars().take(20).collect::<String>()),
            )),
        }
    }

    fn lifetime(&mut self) -> Result<Option<u64>, Refused> {
        let Some(text) = self.take("lt")? else { return Ok(None) };
        let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse().ok().filter(|_| is_decimal);
        seconds.map(Some).ok_or_else(|| Refused::bad_request("lt is no number of seconds that fits 64 bits"))
    }

    /// The binding, and whether the flag `Q` is there.
    fn binding(&mut self) -> Result<(Option<Binding>, bool), Refused> {
        let binding: Option<Binding> = self
            .take("b")?
            .map(|text| text.parse())
            .transpose()
            .map_err(|error: super::binding::BindingError| Refused::bad_request(format!("b: {error}")))?;
        let queue_flag = match self.parameters.remove("Q") {
            None => false,
            Some(None) => true,
            Some(Some(value)) => {
                self.note("queue_flag_with_value");
                !matches!(value.as_str(), "0" | "false")
            }
        };
        Ok((binding, queue_flag))
    }

    fn note_binding_of_other_version(&mut self, version: Version, binding: Option<&Binding>, queue_flag: bool) {
        let later_transport = binding.is_some_and(|b| b.tcp || b.non_ip || b.mqtt || b.http);
        if version == Version::V1_0 && (later_transport || queue_flag) {
            self.note("binding_of_later_version");
        }
        if version > Version::V1_0 && binding.is_some_and(|binding| binding.queue) {
            self.note("queue_mode_inside_binding");
        }
    }

    fn sms(&mut self) -> Result<Option<String>, Refused> {
        let number = self.take("sms")?;
        if number.as_deref().is_some_and(|text| text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit())) {
            self.note("sms_is_no_msisdn");
        }
        Ok(number.filter(|number| !number.is_empty()))
    }

    fn profile_ids(&mut self) -> Result<Vec<String>, Refused> {
        let Some(text) = self.take("pid")? else { return Ok(Vec::new()) };
        profile_id::parse_list(&text).map_err(|error| Refused::bad_request(format!("pid: {error}")))
    }

    fn objects(&mut self, content_format: Option<u16>, payload: &[u8]) -> Result<Option<ObjectList>, Refused> {
        if payload.is_empty() {
            return Ok(None);
        }
        match content_format.map(ContentFormat) {
            Some(ContentFormat::LINK_FORMAT) => {}
            None => self.note("no_content_format"),
            Some(other) => {
                return Err(Refused::new(
                    Code::UNSUPPORTED_CONTENT_FORMAT,
                    format!("the object list has content format {}, not 40", other.0),
                ));
            }
        }
        let list = ObjectList::decode(payload).map_err(|error| Refused::bad_request(error.to_string()))?;
        list.quirks.iter().for_each(|quirk| self.note(quirk));
        Ok(Some(list))
    }

    /// What nobody took.
    fn rest(mut self) -> (BTreeMap<String, String>, Vec<&'static str>) {
        if !self.parameters.is_empty() {
            self.note("unknown_parameters");
        }
        let parameters = self.parameters.into_iter().map(|(name, value)| (name, value.unwrap_or_default()));
        (parameters.collect(), self.quirks)
    }

    fn note(&mut self, quirk: &'static str) {
        if !self.quirks.contains(&quirk) {
            self.quirks.push(quirk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"</1/0>,</3/0>";

    fn query(text: &str) -> Vec<String> {
        text.split('&').filter(|argument| !argument.is_empty()).map(ToOwned::to_owned).collect()
    }

    fn register(text: &str) -> Result<RegisterRequest, Refused> {
        parse_register(&query(text), Some(40), LIST)
    }

    fn refused(text: &str) -> Code {
        register(text).unwrap_err().code
    }

    #[test]
    fn core_6_2_1_a_full_register_request_is_read() {
        let request = register("ep=node&lt=60&lwm2m=1.1&b=UT&Q&sms=48123").unwrap();
        assert_eq!(request.endpoint.as_deref(), Some("node"));
        assert_eq!((request.lifetime_secs, request.version), (Some(60), Version::V1_1));
        let binding = request.binding.unwrap();
        assert!(binding.udp && binding.tcp && !binding.sms && !binding.queue && request.queue_mode);
        assert_eq!(request.sms.as_deref(), Some("48123"));
        assert_eq!(request.objects.objects.keys().collect::<Vec<_>>(), [&1, &3]);
        assert_eq!(request.quirks, [""; 0]);
    }

    #[test]
    fn core_6_2_1_defaults_of_1_0_fill_what_is_missing() {
        let request = register("ep=node").unwrap();
        assert_eq!((request.version, request.lifetime_secs, request.binding), (Version::V1_0, None, None));
        assert!(!request.queue_mode);
    }

    #[test]
    fn required_parameters_of_each_version_are_required() {
        assert_eq!(refused("lt=60&lwm2m=1.0"), Code::BAD_REQUEST);
        assert_eq!(refused("lt=60"), Code::BAD_REQUEST);
        assert_eq!(refused("ep=x&lwm2m=1.1"), Code::BAD_REQUEST);
        assert_eq!(refused("ep=x&lwm2m=1.2"), Code::BAD_REQUEST);
        assert_eq!(register("lt=60&lwm2m=1.1").unwrap().endpoint, None);
    }

    #[test]
    fn only_1_0_1_1_and_1_2_are_spoken_and_other_versions_get_4_12_before_any_other_fault() {
        for version in ["9.9", "2.0", "1.3", "0.9", "2", "x", "", "1.1.1.1"] {
            assert_eq!(refused(&format!("lt=x&lwm2m={version}")), Code::PRECONDITION_FAILED, "{version}");
        }
        assert_eq!(register("ep=x&lwm2m=1.0.0").unwrap().quirks, ["version_of_three_numbers"]);
        assert_eq!(register("ep=x&lwm2m=1").unwrap().quirks, ["version_without_minor"]);
        assert_eq!(refused("ep=x&lwm2m"), Code::BAD_REQUEST);
    }

    #[test]
    fn bad_parameters_are_refused_with_4_00() {
        for text in [
            "ep=",
            "ep",
            "ep=x&ep=y",
            "ep=x&lt=",
            "ep=x&lt=-1",
            "ep=x&lt=+1",
            "ep=x&lt=1.5",
            "ep=x&lt=1 ",
            "ep=x&lt",
            "ep=x&lt=18446744073709551616",
            "ep=x&b=",
            "ep=x&b=X",
            "ep=x&b=Q",
            "ep=x&pid=zzz",
            "ep=x&Q&Q",
        ] {
            assert_eq!(refused(text), Code::BAD_REQUEST, "{text}");
        }
    }

    #[test]
    fn a_lifetime_of_zero_and_the_largest_one_are_taken() {
        assert_eq!(register("ep=x&lt=0").unwrap().lifetime_secs, Some(0));
        assert_eq!(register("ep=x&lt=18446744073709551615").unwrap().lifetime_secs, Some(u64::MAX));
    }

    #[test]
    fn queue_mode_is_a_flag_or_a_letter() {
        let with_letter = register("ep=x&b=UQ").unwrap();
        assert!(with_letter.queue_mode && with_letter.quirks.is_empty());
        assert_eq!(register("ep=x&lt=1&lwm2m=1.1&b=UQ").unwrap().quirks, ["queue_mode_inside_binding"]);
        let later = register("ep=x&b=UT&Q").unwrap();
        assert!(later.queue_mode);
        assert_eq!(later.quirks, ["binding_of_later_version"]);
        assert!(!register("ep=x&lt=1&lwm2m=1.1&Q=0").unwrap().queue_mode);
        assert!(register("ep=x&lt=1&lwm2m=1.1&Q=1").unwrap().queue_mode);
    }

    #[test]
    fn unknown_parameters_are_kept() {
        let request = register("ep=x&mac=AA:BB=1&hb&hb=2").unwrap();
        let expected = [("hb", ""), ("mac", "AA:BB=1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(request.parameters, BTreeMap::from(expected));
        assert_eq!(request.quirks, ["repeated_parameter", "unknown_parameters"]);
    }

    #[test]
    fn more_parameters_than_the_bound_are_refused() {
        let text = |count: usize| {
            let others: Vec<String> = (1..count).map(|number| format!("p{number}")).collect();
            format!("ep=x&{}", others.join("&"))
        };
        assert_eq!(register(&text(MAX_PARAMETERS)).unwrap().parameters.len(), MAX_PARAMETERS - 1);
        assert_eq!(refused(&text(MAX_PARAMETERS + 1)), Code::BAD_REQUEST);
    }

    #[test]
    fn the_content_format_may_be_missing_but_not_another() {
        let arguments = query("ep=x");
        assert_eq!(parse_register(&arguments, None, LIST).unwrap().quirks, ["no_content_format"]);
        for format in [0, 50, 11542] {
            let code = parse_register(&arguments, Some(format), LIST).unwrap_err().code;
            assert_eq!(code, Code::UNSUPPORTED_CONTENT_FORMAT);
            assert_eq!(parse_update(&[], Some(format), LIST).unwrap_err().code, Code::UNSUPPORTED_CONTENT_FORMAT);
        }
    }

    #[test]
    fn core_6_2_1_a_profile_replaces_the_list_in_1_2_only() {
        let without_list = |text: &str| parse_register(&query(text), None, b"");
        let request = without_list("ep=x&lt=60&lwm2m=1.2&pid=\"6:27354b9a,v:a\"").unwrap();
        assert_eq!(request.profile_ids, ["6:27354b9a", "v:a"]);
        assert!(request.objects.objects.is_empty());
        assert_eq!(without_list("ep=x&lt=60&lwm2m=1.2").unwrap_err().code, Code::CONFLICT);
        assert_eq!(without_list("ep=x&lt=60&lwm2m=1.1&pid=v:a").unwrap_err().code, Code::BAD_REQUEST);
    }

    #[test]
    fn quirks_of_the_list_are_quirks_of_the_request() {
        let request = parse_register(&query("ep=x"), Some(40), b"</0/1>,</3/0>").unwrap();
        assert_eq!(request.quirks, ["bootstrap_objects_listed"]);
    }

    #[test]
    fn core_6_2_2_an_update_changes_only_what_it_names() {
        assert_eq!(parse_update(&[], None, b"").unwrap(), UpdateRequest::default());
        let update = parse_update(&query("lt=20&b=U"), None, b"").unwrap();
        assert_eq!((update.lifetime_secs, update.queue_mode), (Some(20), Some(false)));
        assert_eq!(parse_update(&query("Q"), None, b"").unwrap().queue_mode, Some(true));
        assert_eq!(parse_update(&query("b=UQ"), None, b"").unwrap().queue_mode, Some(true));
        let update = parse_update(&[], Some(40), b"</3/0>").unwrap();
        assert_eq!(update.objects.unwrap().objects.len(), 1);
        assert_eq!(parse_update(&query("lt=x"), None, b"").unwrap_err().code, Code::BAD_REQUEST);
        assert_eq!(parse_update(&[], Some(40), b"nonsense").unwrap_err().code, Code::BAD_REQUEST);
    }

    #[test]
    fn reasons_carry_no_control_characters_of_the_device() {
        for text in ["ep=x&pid=\u{1b}[2J", "ep=x&b=\r\n", "ep=x&lwm2m=\u{7}"] {
            let reason = register(text).unwrap_err().reason;
            assert!(!reason.chars().any(char::is_control), "{reason:?}");
        }
        let reason = parse_update(&[], Some(40), b"<\x1b>").unwrap_err().reason;
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }

    #[test]
    fn an_update_with_parameters_of_register_is_taken() {
        let update = parse_update(&query("ep=x&lwm2m=1.1"), None, b"").unwrap();
        assert_eq!(update.parameters["ep"], "x");
        assert_eq!(update.quirks, ["unknown_parameters"]);
    }
}
