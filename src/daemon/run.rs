//! `lwm2mqtt run`: the gateway as a service.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::gateway::{Gateway, tell};
use super::knowledge::{self, Knowledge};
use super::logging::LogControl;
use super::shell::{first_problem, tell_problems};
use super::sources::with_sources;
use super::{demo, logging};
use crate::config::{self, Settings};
use crate::gateway::vocabulary::Input;
use crate::model::credential::Scope;

/// How the gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was told to stop.
    Fine,
    /// Something that it needs could not be had.
    Failed,
    /// A configuration or mapping file is wrong.
    Wrong,
}

/// Runs the gateway until SIGTERM or SIGINT. `strict`: a broken mapping ends it with exit code 2.
pub fn run(file: Option<&Path>, strict: bool) -> Exit {
    let loaded = with_sources(|sources| config::load(file, sources));
    let Some(settings) = loaded.settings else {
        for problem in &loaded.problems {
            complain(&problem.to_string());
        }
        return Exit::Wrong;
    };
    let log = match logging::start(&settings.log) {
        Ok(log) => log,
        Err(error) => {
            complain(&error);
            return Exit::Wrong;
        }
    };
    if let Some(file) = &loaded.file {
        tracing::info!(file = %file.display(), "configuration");
    } else {
        tracing::info!("no configuration file: built-in defaults are used");
    }
    let knowledge = knowledge::read(&settings);
    tell_problems(&knowledge);
    if knowledge.broken && strict {
        return Exit::Wrong;
    }
    if let Err(error) = demo::start_broker(&settings) {
        tracing::error!(error, "the embedded broker does not run");
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return Exit::Failed;
        }
    };
    match runtime.block_on(serve(&settings, knowledge, log)) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            tracing::error!(error, "the gateway could not be started");
            Exit::Failed
        }
    }
}

async fn serve(settings: &Settings, knowledge: Knowledge, log: LogControl) -> Result<(), String> {
    let gateway = Gateway::build(settings, &knowledge, log)?;
    let mut terminate = listen_to(SignalKind::terminate())?;
    let mut interrupt = listen_to(SignalKind::interrupt())?;
    let mut hangup = listen_to(SignalKind::hangup())?;
    let shell = gateway.shell();
    let inputs = gateway.inputs();
    let health = knowledge.broken.then(|| first_problem(&knowledge));
    if let Some(failure) = health {
        tell(&inputs, Input::MappingHealth { failure: Some(failure) }).await;
    }
    for (scope, uri) in &gateway.lwm2m_uris {
        let server = match scope {
            Scope::Server => "LwM2M",
            Scope::Bootstrap => "the bootstrap server",
        };
        tracing::info!("{server} listens on {uri}");
    }
    for address in &gateway.leshan_addresses {
        tracing::info!("the Leshan-compatible API listens on {}://{address}/api", gateway.http_scheme);
    }
    for address in &gateway.leshan_bootstrap_addresses {
        tracing::info!("the Leshan-compatible bootstrap API listens on {}://{address}/api", gateway.http_scheme);
    }
    for address in &gateway.http_addresses {
        tracing::info!("HTTP listens on {}://{address}", gateway.http_scheme);
    }
    notify_service_manager(&[sd_notify::NotifyState::Ready]);
    let reloading = async {
        while hangup.recv().await.is_some() {
            shell.reload();
        }
    };
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify_service_manager(&[sd_notify::NotifyState::Stopping]);
    };
    tokio::select! {
        () = gateway.run(stop) => Ok(()),
        () = reloading => Ok(()),
    }
}

/// Tells the service manager, where there is one.
fn notify_service_manager(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("signals cannot be received: {error}"))
}

/// Before the log runs there is only standard error.
fn complain(line: &str) {
    use std::io::Write as _;
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
