//! `permit-join`: opens the join window of the running gateway.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::arguments::PermitJoinArguments;
use super::gateway_api::{NoAnswer, address, ask};
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
    let asked = address(arguments.url.as_deref(), &arguments.config, sources)
        .and_then(|address| ask(address, "POST", "/api/v1/permit_join", Some(&json!({ "for": duration }))));
    match asked {
        Ok(_) if arguments.duration == Duration::ZERO => terminal.say("the join window is closed")?,
        Ok(_) => terminal.say(&format!("devices without credentials may join for {duration}"))?,
        Err(NoAnswer::Wrong(reason)) => {
            terminal.complain(&reason)?;
            return Ok(Ending::Wrong);
        }
        Err(NoAnswer::Failed(reason)) => {
            terminal.complain(&reason)?;
            return Ok(Ending::Failed);
        }
    }
    Ok(Ending::Fine)
}
