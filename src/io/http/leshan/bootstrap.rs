//! Bootstrap configurations over the Leshan-compatible API of the bootstrap server: the device entries of the own API
//! in Leshan's shape.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::Leshan;
use super::requests::Early;
use super::security::body_of;
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{BootstrapQuery, Query};
use crate::io::http::guard::Caller;
use crate::io::http::request::{MAX_LIMIT, WholeBody};
use crate::northbound::leshan::{Refusal, configuration_of, entry_of};

/// All configurations by endpoint or pattern. The core is asked in pages.
pub(super) async fn list(leshan: &Leshan, caller: Caller) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    let accounts = accounts(leshan).await?;
    let (mut all, mut after) = (Map::new(), None);
    loop {
        let query = BootstrapQuery::Devices { search: String::new(), after, limit: MAX_LIMIT };
        let page = body_of(leshan, Query::Bootstrap(query)).await?;
        for entry in page["items"].as_array().into_iter().flatten() {
            if let Some(name) = entry["name"].as_str() {
                all.insert(name.to_owned(), configuration_of(name, entry, |name| accounts.get(name)));
            }
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(Json(Value::Object(all)).into_response()),
        }
    }
}

/// One of them.
pub(super) async fn show(leshan: &Leshan, caller: Caller, endpoint: String) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    let entry = body_of(leshan, Query::Bootstrap(BootstrapQuery::Device { name: endpoint.clone() })).await?;
    let accounts = accounts(leshan).await?;
    Ok(Json(configuration_of(&endpoint, &entry, |name| accounts.get(name))).into_response())
}

/// Puts one.
pub(super) async fn put(
    leshan: &Leshan,
    caller: Caller,
    endpoint: String,
    request: Request,
) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    let WholeBody(body) = WholeBody::from_request(request, &leshan.api).await?;
    // What the parser says of the place of an error is shown, but nothing of the text, which holds keys.
    let configuration: Value = serde_json::from_slice(&body)
        .map_err(|error| Refusal::invalid(format!("no JSON at line {}, column {}", error.line(), error.column())))?;
    let entry = entry_of(&configuration);
    if !entry.problems.is_empty() {
        return Err(Refusal::invalid(entry.problems.join("; ")).into());
    }
    let query = BootstrapQuery::PutDevice { name: endpoint, body: entry.json, dry_run: false };
    body_of(leshan, Query::Bootstrap(query)).await?;
    Ok(StatusCode::OK.into_response())
}

/// Removes one.
pub(super) async fn remove(leshan: &Leshan, caller: Caller, endpoint: String) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    body_of(leshan, Query::Bootstrap(BootstrapQuery::RemoveDevice { name: endpoint })).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Accounts that stand by themselves, which entries may name.
async fn accounts(leshan: &Leshan) -> Result<HashMap<String, Value>, Early> {
    let mut answer = body_of(leshan, Query::Bootstrap(BootstrapQuery::Servers)).await?;
    let items = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(items.into_iter().filter_map(|item| Some((item["name"].as_str()?.to_owned(), item))).collect())
}
