//! The log: lines to standard error, filtered by level and target. systemd keeps them; there are no log files.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogSettings};

/// Libraries that report ordinary events as errors.
const QUIET: [&str; 2] = ["rumqttd=off", "rumqttc=error"];

/// Starts logging for this process.
///
/// # Errors
/// If the level is no filter, or logging was started before.
pub fn start(settings: &LogSettings) -> Result<(), String> {
    let mut filter = EnvFilter::try_new(&settings.level)
        .map_err(|error| format!("log.level '{}' is no filter: {error}", settings.level))?;
    for directive in QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    started.map_err(|error| error.to_string())
}
