//! `import`: the bootstrap configuration of a neighbour becomes a fragment of ours.

use std::io;

use super::arguments::{ImportFromArguments, ImportedServer};
use super::device_credentials::read_named;
use super::{Ending, Terminal};
use crate::config::Sources;
use crate::gateway::bootstrap::check_among;
use crate::model::bootstrap::AccountName;
use crate::model::object::ObjectModel;
use crate::northbound::import::{self, Imported, Neighbour};

/// Prints the fragment; what could not be carried over is told beside it, and stands in it as comments.
pub(super) fn import(
    arguments: &ImportFromArguments,
    model: &ObjectModel,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let text = match read_named("FILE", &arguments.file, sources) {
        Ok(text) => text,
        Err(error) => return error.tell(terminal),
    };
    let imported = match read(arguments, &text, model) {
        Ok(imported) => imported,
        Err(reason) => {
            terminal.complain(&format!("error: {}: {reason}", arguments.file.display()))?;
            return Ok(Ending::Wrong);
        }
    };
    for note in &imported.notes {
        terminal.complain(&format!("note: {note}"))?;
    }
    if imported.servers.is_empty() && imported.devices.is_empty() {
        terminal.complain(&format!("error: {}: nothing could be carried over", arguments.file.display()))?;
        return Ok(Ending::Failed);
    }
    match imported.to_toml() {
        Ok(fragment) => terminal.say(fragment.trim_end()).map(|()| Ending::Fine),
        Err(reason) => {
            terminal.complain(&format!("error: {}: {reason}", arguments.file.display()))?;
            Ok(Ending::Failed)
        }
    }
}

fn read(arguments: &ImportFromArguments, text: &str, model: &ObjectModel) -> Result<Imported, String> {
    // Only the place of an error is told: the text around it may be a key.
    let file = serde_json::from_str(text)
        .map_err(|error| format!("is no JSON: line {}, column {}", error.line(), error.column()))?;
    let neighbour = match arguments.from {
        ImportedServer::Thingsboard => Neighbour::ThingsBoard,
        ImportedServer::Leshan => Neighbour::Leshan,
        ImportedServer::BsServer => Neighbour::BsServer,
    };
    import::import(neighbour, &file, arguments.endpoint.as_deref(), model, &|entry, accounts| {
        let account = |name: &AccountName| accounts.iter().find(|(known, _)| known == name).map(|(_, account)| account);
        // An account that was left out is in no entry any more.
        check_among(entry, account).unwrap_or_default()
    })
}
