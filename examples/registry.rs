//! Writes the compact registry file from a folder of OMA object definitions:
//! `cargo run --example registry -- FOLDER > models/oma.tsv`.
//!
//! Reads every `*.xml` of FOLDER and of FOLDER/version_history. Files that define no object (indexes, common resources)
//! are left out; any other problem ends the run with the file's name. The output depends on the definitions alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lwm2mqtt::model::ddf::{self, DdfCause};
use lwm2mqtt::model::object::{ObjectDefinition, registry};
use lwm2mqtt::model::version::Version;

const HEADER: &str = "\
# Object definitions of the OMA LwM2M registry: facts alone. Origin and licences: README.md in this folder.
# Object:   ID, version, enabler version, shape, name
# Resource: (tab) ID, operations, shape, type, name, range, unit
# Shape: M or S for multiple or single instances, then M or O for mandatory or optional. '-': no operation, no type.
# Written by: cargo run --example registry -- FOLDER
";

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: registry FOLDER");
        return ExitCode::from(2);
    };
    match read(Path::new(&folder)) {
        Ok(definitions) => {
            print!("{HEADER}{}", registry::write(&definitions));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn read(folder: &Path) -> Result<Vec<ObjectDefinition>, Box<dyn Error>> {
    let mut files = xml_files(&folder.join("version_history"))?;
    // The files at the top come last and win: they are the ones that are kept up to date.
    files.extend(xml_files(folder)?);
    let mut found: BTreeMap<(u16, Version), ObjectDefinition> = BTreeMap::new();
    for file in files {
        let xml = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        match ddf::parse(&xml) {
            Ok(definitions) => {
                for mut definition in definitions {
                    // Old files leave their version out of the text; it stands in their name.
                    if definition.version == Version::V1_0
                        && let Some(version) = version_of_name(&file)
                    {
                        definition.version = version;
                    }
                    found.insert((definition.id, definition.version), definition);
                }
            }
            Err(error) if error.cause == DdfCause::NoDefinition => eprintln!("{}: left out, {error}", file.display()),
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        }
    }
    Ok(found.into_values().collect())
}

fn xml_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// `4-1_1.xml` is version 1.1.
fn version_of_name(file: &Path) -> Option<Version> {
    let stem = file.file_stem()?.to_str()?;
    stem.split_once('-')?.1.replace('_', ".").parse().ok()
}
