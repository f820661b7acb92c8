//! Credentials over the Leshan-compatible API: those of the server that is spoken to.

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Leshan;
use super::requests::Early;
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::io::credential_proofs::settle;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{MAX_LIMIT, WholeBody};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::Scope;
use crate::northbound::credential_json::parse_credential;
use crate::northbound::leshan::{Refusal, credential_of, security_info};

/// All credentials, without keys. The core is asked in pages.
pub(super) async fn list(leshan: &Leshan, caller: Caller) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let query = Query::Credentials { search: String::new(), scope: Some(leshan.server), after, limit: MAX_LIMIT };
        let page = body_of(leshan, query).await?;
        items.extend(page["items"].as_array().into_iter().flatten().filter_map(security_info));
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(Json(Value::Array(items)).into_response()),
        }
    }
}

/// Puts one.
pub(super) async fn put(leshan: &Leshan, caller: Caller, request: Request) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    let WholeBody(body) = <WholeBody as axum::extract::FromRequest<_>>::from_request(request, &leshan.api).await?;
    let mut fields = credential_of(&body)?;
    if leshan.server == Scope::Bootstrap {
        fields.insert("scope".to_owned(), "bootstrap".into());
    }
    let settled = parse_credential(&fields, None).and_then(settle).map_err(|problems| refused(&problems.into()))?;
    body_of(leshan, Query::PutCredential(Box::new(settled.wish))).await?;
    Ok(StatusCode::OK.into_response())
}

/// Removes one, with what stands by it. To Leshan it is the same whether there was one: its page removes before it puts.
pub(super) async fn remove(leshan: &Leshan, caller: Caller, endpoint: String) -> Result<Response, Early> {
    caller.demand(Role::Admin)?;
    match body_of(leshan, Query::RemoveCredential { scope: leshan.server, endpoint }).await {
        Err(Early::Refused(Refusal { status: 404, .. })) => Ok(Json(json!({ "message": "not_found" })).into_response()),
        removed => removed.map(|_| StatusCode::OK.into_response()),
    }
}

/// What the core answers, or why it did not.
pub(super) async fn body_of(leshan: &Leshan, query: Query) -> Result<Value, Early> {
    match leshan.api.core.ask(query).await? {
        Answer::Body(body) => Ok(body),
        Answer::Failed(error) => Err(refused(&error).into()),
        _ => Err(ApiError::unexpected_answer().into()),
    }
}

/// Leshan answers an identity in use like everything else that is wrong.
fn refused(error: &CommandError) -> Refusal {
    match error.kind {
        ErrorKind::NotFound => Refusal { status: 404, text: error.message.clone() },
        ErrorKind::NotSupported => Refusal { status: 501, text: error.message.clone() },
        ErrorKind::Invalid | ErrorKind::Conflict => Refusal { status: 400, text: error.message.clone() },
        _ => Refusal { status: 500, text: error.message.clone() },
    }
}
