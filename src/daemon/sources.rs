//! The world outside as configurations see it: real files, the real environment.

use std::path::Path;

use crate::config::{ReadError, Sources};
use crate::io::files;

/// Calls `read` with the files and environment of this process.
pub fn with_sources<T>(read: impl FnOnce(&Sources<'_>) -> T) -> T {
    read(&Sources {
        read_text: &|path: &Path| files::read_text(path).map_err(|error| read_error(&error)),
        list_folder: &|path: &Path| files::list_folder(path).map_err(|error| read_error(&error)),
        variables: files::variables().collect(),
        host_name: files::host_name(),
    })
}

fn read_error(error: &std::io::Error) -> ReadError {
    match error.kind() {
        std::io::ErrorKind::NotFound => ReadError::NotFound,
        _ => ReadError::Other(error.to_string()),
    }
}
