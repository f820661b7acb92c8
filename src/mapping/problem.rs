//! Mapping files as they come in and what is wrong with them.

use super::plan::Plan;

/// One mapping file before compilation.
#[derive(Clone, Debug)]
pub struct MappingFile {
    /// Its name, for messages and for the order.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Whether a problem keeps the plan from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The plan cannot be used.
    Error,
    /// It can, and somebody should look.
    Warning,
}

/// Something wrong in a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The file's name.
    pub file: String,
    /// Line, counted from 1; `None` if the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl std::fmt::Display for Problem {
    /// `FILE:LINE: error: MESSAGE (HINT)`, on one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {severity}: {}", self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// The outcome of a compilation.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan, if no problem is an error.
    pub plan: Option<Plan>,
    /// All problems, in the order of the files and lines.
    pub problems: Vec<Problem>,
}
