//! The command line: one module for each command.
//!
//! Exit codes: 0 fine; 1 it failed; 2 the command line or a configuration or mapping file is wrong. What a command is
//! asked for goes to standard output, why it failed to standard error.

pub mod arguments;
mod check;
mod csv;
mod decode;
mod device;
mod device_credentials;
mod device_import;
mod explain;
mod explanation;
mod gateway_api;
mod import;
mod mapping_new;
mod pcapng;
mod permit_join;
mod run;
mod trace;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{self, Loaded, Settings, Sources, load, read_models};
use crate::daemon::sources::with_sources;
use crate::io::clock::wall_now;
use crate::mapping;
use crate::model::object::ObjectModel;
use arguments::{Arguments, Command, ConfigArguments, MappingCommand, SchemaOf};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Fine,
    Failed,
    /// The command line or a file that the user wrote is wrong.
    Wrong,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Fine => 0,
            Ending::Failed => 1,
            Ending::Wrong => 2,
        })
    }
}

/// Where a command writes.
struct Terminal<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether what is said is seen at once.
    interactive: bool,
}

impl Terminal<'_> {
    /// Writes a line of what was asked for.
    fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Writes JSON that was asked for.
    fn say_json(&mut self, json: &serde_json::Value) -> io::Result<()> {
        writeln!(self.out, "{json:#}")
    }

    /// Writes why it failed.
    fn complain(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.err, "{line}")
    }
}

/// Reads the command line of this process and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    // Not locked: the gateway's other threads write log lines meanwhile.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let interactive = io::IsTerminal::is_terminal(&out);
    let mut terminal = Terminal { out: &mut out, err: &mut err, interactive };
    with_sources(|sources| run_with(std::env::args_os(), sources, &mut terminal)).into()
}

fn run_with(
    arguments: impl IntoIterator<Item = OsString>,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> Ending {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render();
            // Help and version were asked for; everything else is a complaint.
            let wanted = !error.use_stderr();
            let target: &mut dyn Write = if wanted { &mut *terminal.out } else { &mut *terminal.err };
            let _ = write!(target, "{text}");
            return if wanted { Ending::Fine } else { Ending::Wrong };
        }
    };
    match dispatch(&arguments.command, sources, terminal) {
        Ok(ending) => ending,
        // Whoever reads has closed: `lwm2mqtt schema config | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ending::Fine,
        Err(_) => Ending::Failed,
    }
}

fn dispatch(command: &Command, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> io::Result<Ending> {
    match command {
        Command::Run(arguments) => Ok(run::run(arguments)),
        Command::Demo(arguments) => run::demo(arguments, terminal),
        Command::Simulate(arguments) => run::simulate(arguments, terminal),
        Command::Check(arguments) => check::check(arguments, sources, terminal),
        Command::Explain(arguments) => explain::explain(arguments, sources, wall_now(), terminal),
        Command::Decode(arguments) => {
            let model = object_model(sources, terminal)?;
            decode::decode(arguments, &model, wall_now(), terminal)
        }
        Command::Schema(arguments) => match arguments.of {
            SchemaOf::Config => terminal.say_json(&config::json_schema()).map(|()| Ending::Fine),
            SchemaOf::Mapping => terminal.say_json(&mapping::json_schema()).map(|()| Ending::Fine),
        },
        Command::PermitJoin(arguments) => permit_join::permit_join(arguments, sources, terminal),
        Command::Device(arguments) => device::device(&arguments.command, sources, terminal),
        Command::Trace(arguments) => trace::trace(arguments, sources, terminal),
        Command::Import(arguments) => {
            let model = object_model(sources, terminal)?;
            import::import(arguments, &model, sources, terminal)
        }
        Command::Mapping(arguments) => match &arguments.command {
            MappingCommand::New(arguments) => mapping_new::mapping_new(arguments, sources, terminal),
        },
    }
}

/// The built-in definitions and those of the models folder, for a command that needs no configuration: what is wrong
/// with either is told and costs only the further definitions.
fn object_model(sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> io::Result<ObjectModel> {
    let loaded = load(None, sources);
    let Some(settings) = loaded.settings else {
        let file = loaded.file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
        terminal.complain(&format!("note: {file} is wrong, so that only the built-in object definitions are used"))?;
        return Ok(ObjectModel::built_in());
    };
    let (model, problems) = read_models(&settings, sources);
    for problem in &problems {
        terminal.complain(&problem.to_string())?;
    }
    Ok(model)
}

/// The settings, or `None` after their problems have been told.
fn load_settings(
    arguments: &ConfigArguments,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Option<Settings>> {
    let Loaded { settings, problems, .. } = load(arguments.config.as_deref(), sources);
    for problem in &problems {
        terminal.complain(&problem.to_string())?;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
