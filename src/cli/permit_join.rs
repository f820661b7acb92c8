//! `permit-join`: opens the join window of the running gateway.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::arguments::PermitJoinArguments;
use super::gateway_api::Gateway;
use super::{Ending, Terminal};
use crate::config::Sources;
use crate::model::units::format_duration;

/// Asks the gateway and says what is now.
pub(super) fn permit_join(
    arguments: &PermitJoinArguments,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let duration = format_duration(arguments.duration);
    let asked = Gateway::of(&arguments.gateway, sources)
        .and_then(|gateway| gateway.ask("POST", "/api/v1/permit_join", Some(&json!({ "for": duration }))));
    match asked {
        Ok(_) if arguments.duration == Duration::ZERO => terminal.say("the join window is closed")?,
        Ok(_) => terminal.say(&format!("devices without credentials may join for {duration}"))?,
        Err(error) => return error.tell(terminal),
    }
    Ok(Ending::Fine)
}
