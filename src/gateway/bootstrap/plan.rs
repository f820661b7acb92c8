//! What a device gets: from its entry, the accounts and what was made for it to the writes of one session.
//!
//! ```text
//! accounts, entry ─┐
//! what was made   ─┼──▶ Plan: writes in order, and by what the device will prove itself where
//! what it has     ─┘
//! ```
//!
//! Instance ids are chosen so that the device's own bootstrap account is never overwritten but by a bootstrap account,
//! and that an account which stayed, since its delete was refused, is replaced by the one with its short server id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::issued::{Issued, IssuedSecret};
use super::orders::ProvisionCredential;
use crate::model::bootstrap::{
    AccountTransport, ClientKeys, DeviceEntry, Provision, PskKey, Security, SecurityMode, ServerAccount, ServerKind,
    Template, TemplateValues, WriteBy,
};
use crate::model::credential::{MAX_IDENTITY_BYTES, Proof, Scope, SecretBytes};
use crate::model::credential_wish::Means;
use crate::model::object::{DeviceModel, ResourceTypes as _};
use crate::model::path::Path;
use crate::model::value::{ResourceType, Value};
use crate::model::version::Version;
use crate::protocol::lwm2m::bootstrap::Found;

const SECURITY: u16 = 0;
const SERVER: u16 = 1;
const ACCESS_CONTROL: u16 = 2;
/// Objects that stand in this order unless the entry says otherwise; others follow by number.
const ORDER: [u16; 2] = [SECURITY, SERVER];

/// One Bootstrap-Write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Write {
    /// Object, instance or resource.
    pub(super) path: Path,
    /// What it is to hold.
    pub(super) values: Vec<(Path, Value)>,
}

/// By what the device will prove itself at the server of an account.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    /// Who has to know.
    pub(super) provision: Provision,
    /// Which kind of server that is.
    pub(super) scope: Scope,
    /// As a credential of this gateway.
    pub(super) means: Means,
    /// Subject of the certificate.
    pub(super) certificate_subject: Option<Arc<str>>,
    /// As other servers want it.
    pub(super) credential: ProvisionCredential,
}

/// What one session writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// In order.
    pub(super) writes: Vec<Write>,
    /// One for each account.
    pub(super) given: Vec<Given>,
    /// Instance of the Server object, short server id and lifetime of each management account: what reading back is
    /// held against.
    pub(super) servers: Vec<(u16, u16, u32)>,
}

/// This gateway as devices see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnServer {
    /// Host as it stands in a URI; `None`: unknown.
    pub(super) host: Option<String>,
    /// Ports by server, transport and whether it is secure.
    pub(super) ports: Vec<(Scope, AccountTransport, bool, u16)>,
    /// Raw public key, DER.
    pub(super) public_key: Option<Arc<[u8]>>,
    /// Certificate, DER.
    pub(super) certificate: Option<Arc<[u8]>>,
}

/// Everything that a plan is made of.
#[derive(Clone, Copy)]
pub(super) struct Ingredients<'a> {
    /// The entry.
    pub(super) entry: &'a DeviceEntry,
    /// Its accounts, each with its word.
    pub(super) accounts: &'a [(String, Arc<ServerAccount>)],
    /// What was made for the device.
    pub(super) issued: &'a Issued,
    /// What the device has, deletes taken into account; `None`: it does not say.
    pub(super) found: Option<&'a Found>,
    /// Its version, as far as it is known.
    pub(super) version: Option<Version>,
    /// What texts are filled with.
    pub(super) values: TemplateValues<'a>,
    /// This gateway.
    pub(super) own: &'a OwnServer,
    /// Types of resources.
    pub(super) types: &'a DeviceModel<'a>,
}

/// Makes the plan.
///
/// # Errors
/// Why the device cannot get what it should, for the operator. Holds no secret.
pub(super) fn plan(of: &Ingredients<'_>) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let mut instances: BTreeMap<Path, Vec<(Path, Value)>> = BTreeMap::new();
    for ((word, account), ids) in of.accounts.iter().zip(account_ids(of)) {
        let at = |error: String| format!("account '{word}': {error}");
        let material = material(of, word, account).map_err(at)?;
        let security = Path::instance(SECURITY, ids.security);
        instances.insert(security, security_values(of, account, ids, &material).map_err(at)?);
        if account.kind == ServerKind::Management {
            instances.insert(Path::instance(SERVER, ids.server), server_values(of, account, ids));
            plan.servers.push((ids.server, ids.ssid, account.lifetime_secs));
        }
        plan.given.push(given(account, material));
    }
    for (index, control) in (0_u16..).zip(&of.entry.access_control) {
        let instance = free_ids(of, ACCESS_CONTROL).nth(usize::from(index)).unwrap_or(index);
        let resource = |id| Path::resource(ACCESS_CONTROL, instance, id);
        let mut values = vec![
            (resource(0), Value::Integer(control.object.into())),
            (resource(1), Value::Integer(control.instance.into())),
            (resource(3), Value::Integer(control.owner.into())),
        ];
        for (ssid, rights) in &control.rights {
            let path = Path::resource_instance(ACCESS_CONTROL, instance, 2, *ssid);
            values.push((path, Value::Integer((*rights).into())));
        }
        values.sort_by_key(|(path, _)| *path);
        instances.insert(Path::instance(ACCESS_CONTROL, instance), values);
    }
    let mut single = Vec::new();
    for (path, json) in &of.entry.writes {
        match (path.depth(), json) {
            (2, Json::Object(resources)) => {
                let values = instance_values(of, *path, resources)?;
                instances.entry(*path).or_default().extend(values);
            }
            (_, Json::Object(several)) => single.push(Write { path: *path, values: values_below(of, *path, several)? }),
            _ => single.push(Write { path: *path, values: vec![(*path, typed(of, path, json)?)] }),
        }
    }
    plan.writes = arranged(of.entry, instances, single);
    Ok(plan)
}

/// The writes in the order of the entry.
fn arranged(entry: &DeviceEntry, instances: BTreeMap<Path, Vec<(Path, Value)>>, single: Vec<Write>) -> Vec<Write> {
    let mut writes: Vec<Write> = match entry.write_by {
        WriteBy::Instance => instances.into_iter().map(|(path, values)| Write { path, values }).collect(),
        WriteBy::Object => {
            let mut objects: BTreeMap<Path, Vec<(Path, Value)>> = BTreeMap::new();
            for (path, values) in instances {
                objects.entry(path.truncated(1).unwrap_or(path)).or_default().extend(values);
            }
            objects.into_iter().map(|(path, values)| Write { path, values }).collect()
        }
    };
    writes.extend(single);
    let order: &[u16] = if entry.order.is_empty() { &ORDER } else { &entry.order };
    let rank = |write: &Write| {
        let object = write.path.object_id().unwrap_or_default();
        (order.iter().position(|of| *of == object).unwrap_or(order.len()), object)
    };
    writes.sort_by_key(rank);
    writes
}

/// Which instances an account gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AccountIds {
    security: u16,
    server: u16,
    ssid: u16,
}

/// Instance ids of an object that nothing takes.
fn free_ids(of: &Ingredients<'_>, object: u16) -> impl Iterator<Item = u16> {
    let taken: BTreeSet<u16> = of
        .found
        .into_iter()
        .flat_map(|found| found.instances.keys())
        .filter(|(of, _)| *of == object)
        .map(|(_, instance)| *instance)
        .collect();
    (0..u16::MAX).filter(move |id| !taken.contains(id))
}

fn account_ids(of: &Ingredients<'_>) -> Vec<AccountIds> {
    // A device that does not tell has its bootstrap account where factories put it.
    let lists_security = |found: &&Found| found.instances.keys().any(|(object, _)| *object == SECURITY);
    let bootstrap_account = of.found.filter(lists_security).map_or(Some(0), Found::bootstrap_account);
    let remaining = |object: u16, ssid: u16| {
        let mut instances = of.found.into_iter().flat_map(|found| &found.instances);
        instances.find(|((of, _), found)| *of == object && found.ssid == Some(ssid)).map(|((_, id), _)| *id)
    };
    let mut security: BTreeSet<u16> = bootstrap_account.into_iter().collect();
    let mut server = BTreeSet::new();
    let given: BTreeSet<u16> = of
        .accounts
        .iter()
        .filter(|(_, account)| account.kind == ServerKind::Management)
        .filter_map(|(_, account)| account.ssid)
        .collect();
    let mut free_ssids = (1..u16::MAX).filter(|ssid| !given.contains(ssid));
    let ssids: Vec<u16> = of
        .accounts
        .iter()
        .map(|(_, account)| match (account.kind, account.ssid) {
            (ServerKind::Management, None) => free_ssids.next().unwrap_or(1),
            (_, ssid) => ssid.unwrap_or_default(),
        })
        .collect();
    // Those that take the place of what stayed come first, so that nobody else takes it.
    let kept = |object| -> Vec<Option<u16>> {
        let of_kind = |(index, (_, account)): (usize, &(String, Arc<ServerAccount>))| {
            let ssid = *ssids.get(index)?;
            if account.kind == ServerKind::Management { remaining(object, ssid) } else { None }
        };
        of.accounts.iter().enumerate().map(of_kind).collect()
    };
    let (kept_security, kept_server) = (kept(SECURITY), kept(SERVER));
    security.extend(kept_security.iter().flatten());
    server.extend(kept_server.iter().flatten());
    let free = |object, taken: &mut BTreeSet<u16>| {
        let id = free_ids(of, object).find(|id| !taken.contains(id)).unwrap_or_default();
        taken.insert(id);
        id
    };
    let mut ids = Vec::with_capacity(of.accounts.len());
    for (index, (_, account)) in of.accounts.iter().enumerate() {
        let kept = |list: &[Option<u16>]| list.get(index).copied().flatten();
        let of_security = match account.kind {
            ServerKind::Bootstrap => bootstrap_account.unwrap_or_else(|| free(SECURITY, &mut security)),
            ServerKind::Management => kept(&kept_security).unwrap_or_else(|| free(SECURITY, &mut security)),
        };
        let of_server = match account.kind {
            ServerKind::Bootstrap => 0,
            ServerKind::Management => kept(&kept_server).unwrap_or_else(|| free(SERVER, &mut server)),
        };
        let ssid = ssids.get(index).copied().unwrap_or_default();
        ids.push(AccountIds { security: of_security, server: of_server, ssid });
    }
    ids
}

/// What resources 3 to 5 of the Security object hold, and what the server has to know.
#[derive(Clone, Debug, Default)]
struct Material {
    public_or_identity: Vec<u8>,
    server_public: Vec<u8>,
    secret: Option<SecretBytes>,
    subject: Option<Arc<str>>,
}

fn material(of: &Ingredients<'_>, word: &str, account: &ServerAccount) -> Result<Material, String> {
    let issued = of.issued.secrets.get(word);
    let pair = |client: &ClientKeys| match (client, issued) {
        (ClientKeys::Given { public, private }, _) => Ok((public.to_vec(), private.clone(), None)),
        (ClientKeys::Made, Some(IssuedSecret::PublicKey(pair) | IssuedSecret::Certificate(pair))) => {
            Ok((pair.public.to_vec(), pair.private.clone(), pair.subject.clone()))
        }
        (ClientKeys::Made, _) => Err("no key pair was made".to_owned()),
    };
    let server = |given: &Option<Arc<[u8]>>, own: &Option<Arc<[u8]>>, what: &str| {
        given.as_ref().or(own.as_ref()).map(|bytes| bytes.to_vec()).ok_or_else(|| format!("this gateway has no {what}"))
    };
    Ok(match &account.security {
        Security::NoSec => Material::default(),
        Security::Psk { identity, key } => {
            let identity =
                identity.as_ref().map_or_else(|| Some(of.values.endpoint.to_owned()), |text| text.fill(&of.values));
            let identity = identity.ok_or("psk_identity: the address of this gateway is not known")?;
            if identity.is_empty() || identity.len() > MAX_IDENTITY_BYTES {
                return Err(format!("psk_identity has {} bytes, not 1 to {MAX_IDENTITY_BYTES}", identity.len()));
            }
            let secret = match (key, issued) {
                (PskKey::Given(key), _) | (PskKey::Random(_), Some(IssuedSecret::Key(key))) => key.clone(),
                (PskKey::Random(_), _) => return Err("no key was made".to_owned()),
            };
            Material { public_or_identity: identity.into_bytes(), secret: Some(secret), ..Material::default() }
        }
        Security::RawPublicKey { client, server: given } => {
            let (public_or_identity, private, subject) = pair(client)?;
            let server_public = server(given, &of.own.public_key, "raw public key")?;
            Material { public_or_identity, server_public, secret: Some(private), subject }
        }
        Security::X509 { client, server: given, .. } => {
            let (public_or_identity, private, subject) = pair(client)?;
            let server_public = server(given, &of.own.certificate, "certificate")?;
            Material { public_or_identity, server_public, secret: Some(private), subject }
        }
    })
}

fn given(account: &ServerAccount, material: Material) -> Given {
    let public: Arc<[u8]> = material.public_or_identity.as_slice().into();
    let key = material.secret.unwrap_or_else(|| SecretBytes::new(&[]));
    let (means, credential) = match account.security.mode() {
        SecurityMode::NoSec => (Means::NoSec, ProvisionCredential::NoSec),
        SecurityMode::Psk => {
            let identity = String::from_utf8_lossy(&public).into_owned();
            let proof = Proof::Psk { identity: public, key: key.clone() };
            (Means::Proof(proof), ProvisionCredential::Psk { identity, key })
        }
        SecurityMode::RawPublicKey => {
            let proof = Proof::PublicKey { spki: public.clone() };
            (Means::Proof(proof), ProvisionCredential::RawPublicKey(public))
        }
        SecurityMode::X509 => {
            use sha2::Digest as _;
            let proof = Proof::Certificate { fingerprint: sha2::Sha256::digest(&public).into() };
            (Means::Proof(proof), ProvisionCredential::Certificate(public))
        }
    };
    let scope = match account.kind {
        ServerKind::Management => Scope::Server,
        ServerKind::Bootstrap => Scope::Bootstrap,
    };
    let provision = account.provision.clone();
    Given { provision, scope, means, certificate_subject: material.subject, credential }
}

fn is_since_1_1(of: &Ingredients<'_>) -> bool {
    of.version.is_some_and(|version| version >= Version::V1_1)
}

fn number(value: u32) -> Value {
    Value::Integer(value.into())
}

fn security_values(
    of: &Ingredients<'_>,
    account: &ServerAccount,
    ids: AccountIds,
    material: &Material,
) -> Result<Vec<(Path, Value)>, String> {
    let bootstrap = account.kind == ServerKind::Bootstrap;
    let secret = material.secret.as_ref().map_or(&[][..], SecretBytes::expose);
    let opaque = |bytes: &[u8]| Value::Opaque(bytes.to_vec());
    let mut values = vec![
        (0, Value::String(uri(of, account)?)),
        (1, Value::Boolean(bootstrap)),
        (2, Value::Integer(account.security.mode().number())),
        // Some clients want these to be there, be they empty.
        (3, opaque(&material.public_or_identity)),
        (4, Value::Opaque(server_part(of, account, &material.server_public))),
        (5, opaque(secret)),
    ];
    let sms = &account.sms;
    values.extend(sms.security_mode.map(|mode| (6, Value::Integer(mode.into()))));
    values.extend(sms.binding_key_parameters.as_ref().map(|bytes| (7, opaque(bytes))));
    values.extend(sms.binding_secret_key.as_ref().map(|key| (8, opaque(key.expose()))));
    values.extend(sms.number.clone().map(|text| (9, Value::String(text))));
    if !bootstrap || ids.ssid != 0 {
        values.push((10, Value::Integer(ids.ssid.into())));
    }
    values.extend(account.client_hold_off_time_secs.map(|seconds| (11, number(seconds))));
    if bootstrap {
        values.extend(account.bootstrap_server_account_timeout_secs.map(|seconds| (12, number(seconds))));
    }
    if is_since_1_1(of) {
        values.extend(account.matching_type.map(|matching| (13, Value::Integer(matching.into()))));
        values.extend(account.sni.clone().map(|name| (14, Value::String(name))));
        if let Security::X509 { certificate_usage: Some(usage), .. } = account.security {
            values.push((15, Value::Integer(usage.into())));
        }
    }
    Ok(values.into_iter().map(|(id, value)| (Path::resource(SECURITY, ids.security, id), value)).collect())
}

/// What a device holds a server's certificate against: the whole, or what its matching type wants of it (Core TS 1.2.2
/// Appendix E.1, RFC 6698 section 2.1.3).
fn server_part(of: &Ingredients<'_>, account: &ServerAccount, whole: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    match account.matching_type.filter(|_| is_since_1_1(of) && account.security.mode() == SecurityMode::X509) {
        Some(1) => sha2::Sha256::digest(whole).to_vec(),
        Some(2) => sha2::Sha384::digest(whole).to_vec(),
        Some(3) => sha2::Sha512::digest(whole).to_vec(),
        _ => whole.to_vec(),
    }
}

fn server_values(of: &Ingredients<'_>, account: &ServerAccount, ids: AccountIds) -> Vec<(Path, Value)> {
    let mut values = vec![(0, Value::Integer(ids.ssid.into())), (1, number(account.lifetime_secs))];
    values.extend(account.default_min_period_secs.map(|seconds| (2, number(seconds))));
    values.extend(account.default_max_period_secs.map(|seconds| (3, number(seconds))));
    values.push((5, number(account.disable_timeout_secs)));
    values.push((6, Value::Boolean(account.notification_storing)));
    values.push((7, Value::String(binding(&account.binding, is_since_1_1(of)))));
    if is_since_1_1(of) {
        let registration = &account.registration;
        values.extend(account.apn_link.map(|(object, instance)| (10, Value::ObjectLink(object, instance))));
        values.extend(registration.priority.map(|priority| (13, number(priority))));
        values.extend(registration.initial_delay_secs.map(|seconds| (14, number(seconds))));
        values.extend(registration.failure_block.map(|blocks| (15, Value::Boolean(blocks))));
        values.extend(registration.bootstrap_on_failure.map(|bootstraps| (16, Value::Boolean(bootstraps))));
        values.extend(registration.communication_retry_count.map(|count| (17, number(count))));
        values.extend(registration.communication_retry_timer_secs.map(|seconds| (18, number(seconds))));
        values.extend(registration.communication_sequence_delay_timer_secs.map(|seconds| (19, number(seconds))));
        values.extend(registration.communication_sequence_retry_count.map(|count| (20, number(count))));
        values.extend(account.trigger.map(|trigger| (21, Value::Boolean(trigger))));
        values.extend(account.preferred_transport.clone().map(|letter| (22, Value::String(letter))));
        values.extend(account.mute_send.map(|mute| (23, Value::Boolean(mute))));
    }
    values.into_iter().map(|(id, value)| (Path::resource(SERVER, ids.server, id), value)).collect()
}

/// /1/x/7 as a version has it: 1.0 knows six words, later ones letters without Q (Core TS 1.2.2 section 6.2.1.2).
fn binding(written: &str, since_1_1: bool) -> String {
    match written {
        _ if since_1_1 => written.chars().filter(|letter| *letter != 'Q').collect(),
        "USQ" => "UQS".to_owned(),
        // Other letters came with 1.1. A device of 1.0 on TCP has U as the nearest word.
        written => match written.chars().filter(|letter| matches!(letter, 'U' | 'S' | 'Q')).collect::<String>() {
            known if known.is_empty() || known == "Q" => format!("U{known}"),
            known => known,
        },
    }
}

/// The URI of an account with what was left out of it.
fn uri(of: &Ingredients<'_>, account: &ServerAccount) -> Result<String, String> {
    let secure = account.security.mode() != SecurityMode::NoSec;
    let (scheme, port) = match (account.transport, secure) {
        (AccountTransport::Udp, false) => ("coap", 5_683),
        (AccountTransport::Udp, true) => ("coaps", 5_684),
        (AccountTransport::Tcp, false) => ("coap+tcp", 5_683),
        (AccountTransport::Tcp, true) => ("coaps+tcp", 5_684),
    };
    let unknown_host = || "uri: the address under which the device reached this gateway is not known; write a uri";
    let Some(template) = &account.uri else {
        let scope = if account.kind == ServerKind::Bootstrap { Scope::Bootstrap } else { Scope::Server };
        let wanted = (scope, account.transport, secure);
        let own = of.own.ports.iter().find(|(scope, transport, secure, _)| (*scope, *transport, *secure) == wanted);
        let Some((.., port)) = own else {
            return Err(format!("uri: this gateway has no listener for {scheme} there; write a uri, or give it one"));
        };
        let host = of.own.host.as_deref().ok_or_else(unknown_host)?;
        return Ok(format!("{scheme}://{host}:{port}"));
    };
    let text = filled(template, of).ok_or_else(unknown_host)?;
    let (scheme, rest) = text.split_once("://").unwrap_or((scheme, &text));
    let rest = rest.trim_end_matches('/');
    let is_v6 = rest.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !is_v6 && rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:%".contains(&byte);
    let host = if has_port { rest.rsplit_once(':').map_or(rest, |(host, _)| host) } else { rest };
    let brackets = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !host.bytes().all(fits) || (host.contains(':') && !is_v6 && !brackets) {
        return Err(format!("uri: '{}' cannot be a host", host.escape_debug()));
    }
    Ok(match (is_v6, has_port) {
        (true, _) => format!("{scheme}://[{rest}]:{port}"),
        (false, true) => format!("{scheme}://{rest}"),
        (false, false) => format!("{scheme}://{rest}:{port}"),
    })
}

fn filled(template: &Template, of: &Ingredients<'_>) -> Option<String> {
    template.fill(&of.values)
}

/// The values of one instance: `{resource: value}`, or `{resource: {resource instance: value}}`.
fn instance_values(
    of: &Ingredients<'_>,
    instance: Path,
    resources: &serde_json::Map<String, Json>,
) -> Result<Vec<(Path, Value)>, String> {
    let mut values = Vec::with_capacity(resources.len());
    for (key, json) in resources {
        let resource = below(instance, key)?;
        match json {
            Json::Object(several) => values.extend(values_below(of, resource, several)?),
            json => values.push((resource, typed(of, &resource, json)?)),
        }
    }
    values.sort_by_key(|(path, _)| *path);
    Ok(values)
}

/// The values of the resource instances of a resource.
fn values_below(
    of: &Ingredients<'_>,
    resource: Path,
    several: &serde_json::Map<String, Json>,
) -> Result<Vec<(Path, Value)>, String> {
    let mut values = Vec::with_capacity(several.len());
    for (key, json) in several {
        let path = below(resource, key)?;
        values.push((path, typed(of, &path, json)?));
    }
    values.sort_by_key(|(path, _)| *path);
    Ok(values)
}

/// The OSCORE object.
const OSCORE_OBJECT: u16 = 21;

fn below(path: Path, key: &str) -> Result<Path, String> {
    let child = key.parse().ok().and_then(|id| path.child(id));
    child.ok_or_else(|| format!("writes {path}: '{key}' cannot stand there"))
}

fn typed(of: &Ingredients<'_>, path: &Path, json: &Json) -> Result<Value, String> {
    let known = of.types.shape(path).and_then(|shape| shape.resource_type);
    // Before version 2.0 of the OSCORE object its keys and ids, which are bytes, were called strings.
    let is_oscore = path.object_id() == Some(OSCORE_OBJECT);
    let known = if is_oscore && known == Some(ResourceType::String) { Some(ResourceType::Opaque) } else { known };
    let filled = json.as_str().and_then(|text| Template::new(text).fill(&of.values)).map(Json::String);
    let json = filled.as_ref().unwrap_or(json);
    let value = match known {
        Some(resource_type) => Value::from_json(json, resource_type),
        None => Value::from_untyped_json(json),
    };
    // The value itself may be a secret.
    value.map_err(|error| format!("writes {path}: expected {}", error.expected))
}
