//! `device import`: the credentials of many devices from one file.
//!
//! ```text
//! CSV or JSON ─▶ rows ─▶ what is wrong is told by line ─▶ lists ─▶ gateway ─▶ what it refused, by line
//! ```
//!
//! With `--all-or-nothing` everything is first tried, then put.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json, json};

use super::arguments::ImportArguments;
use super::csv;
use super::device_credentials::read_named;
use super::gateway_api::{Gateway, NoAnswer};
use super::{Ending, Terminal};
use crate::config::Sources;
use crate::model::credential::Scope;
use crate::northbound::credential_json::{CredentialRequest, FIELDS, RequestedMeans, parse_credential};

/// Credentials in one request, and bytes of their JSON beyond which no further one is added: the gateway takes bodies of
/// 2 MiB.
const MAX_ROWS: usize = 500;
const ENOUGH_BYTES: usize = 1 << 20;

/// What separates tags in a cell.
const TAG_SEPARATORS: [char; 3] = [';', ',', '|'];

/// What a command did: it could not ask, or could (and perhaps not print).
type Done = Result<std::io::Result<Ending>, NoAnswer>;

/// A credential of the file.
struct Row {
    /// Where it stands: `line 7`, or `item 3`.
    place: String,
    endpoint: String,
    fields: Json,
}

/// What is wrong with the file, in its order.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, place: &str, what: &str) {
        self.0.push(format!("error: {place}: {what}"));
    }
}

/// Puts what the file holds.
pub(super) fn import(arguments: &ImportArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let text = read_named("FILE", &arguments.file, sources)?;
    let mut problems = Problems::default();
    let rows = rows_of(&text, &mut problems)
        .map_err(|reason| NoAnswer::Wrong(format!("error: {}: {reason}", arguments.file.display())))?;
    let total = rows.len() + problems.0.len();
    let rows = checked(rows, &mut problems);
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let mut results = Vec::new();
    if arguments.all_or_nothing {
        if problems.0.is_empty() {
            put(&gateway, &rows, "?dry_run=true", &mut problems)?;
        }
        if !problems.0.is_empty() {
            return Ok(tell_problems(&problems, terminal)
                .and_then(|()| terminal.complain(&format!("none of {total} credentials was put")))
                .map(|()| Ending::Failed));
        }
    }
    // A single request is whole by itself, even if somebody else changes credentials meanwhile.
    let whole = arguments.all_or_nothing && lists_of(&rows).len() <= 1;
    let parameters = if whole { "?all_or_nothing=true" } else { "" };
    put_into(&gateway, &rows, parameters, &mut problems, &mut results)?;
    let told = tell(arguments, &rows, &results, terminal).and_then(|()| tell_problems(&problems, terminal));
    let (created, changed) = (count(&results, "created"), count(&results, "changed"));
    let summary = format!("{created} credentials added, {changed} changed, {} wrong", problems.0.len());
    let ending = if problems.0.is_empty() { Ending::Fine } else { Ending::Failed };
    Ok(told.and_then(|()| terminal.complain(&summary)).map(|()| ending))
}

fn count(results: &[Json], status: &str) -> usize {
    results.iter().filter(|result| result["status"] == status).count()
}

fn tell_problems(problems: &Problems, terminal: &mut Terminal<'_>) -> std::io::Result<()> {
    problems.0.iter().try_for_each(|problem| terminal.complain(problem))
}

/// Keys that were made, as a table, since they are not told again; or everything as JSON.
fn tell(
    arguments: &ImportArguments,
    rows: &[Row],
    results: &[Json],
    terminal: &mut Terminal<'_>,
) -> std::io::Result<()> {
    if arguments.json {
        return terminal.say_json(&Json::from(results.to_vec()));
    }
    let mut is_first = true;
    for (row, result) in rows.iter().zip(results) {
        let Some(key) = result["key"].as_str() else { continue };
        if std::mem::take(&mut is_first) {
            terminal.say("endpoint,identity,identity_hex,key")?;
        }
        let text = |field: &str| row.fields[field].as_str().map(csv::quoted);
        let identity = match (text("identity"), text("identity_hex")) {
            (None, Some(_)) => String::new(),
            (identity, _) => identity.unwrap_or_else(|| csv::quoted(&row.endpoint)),
        };
        let hex = text("identity_hex").unwrap_or_default();
        terminal.say(&format!("{},{identity},{hex},{key}", csv::quoted(&row.endpoint)))?;
    }
    Ok(())
}

/// The rows of a file; what is wrong with single rows is noted.
fn rows_of(text: &str, problems: &mut Problems) -> Result<Vec<Row>, String> {
    if text.trim_start().starts_with(['[', '{']) { rows_of_json(text, problems) } else { rows_of_csv(text, problems) }
}

fn rows_of_json(text: &str, problems: &mut Problems) -> Result<Vec<Row>, String> {
    let read: Json = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let items = match read {
        Json::Array(items) => items,
        Json::Object(mut page) => match page.remove("items") {
            Some(Json::Array(items)) => items,
            _ => return Err("is no list of credentials".to_owned()),
        },
        _ => return Err("is no list of credentials".to_owned()),
    };
    let mut rows = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let place = format!("item {}", index + 1);
        match item {
            Json::Object(_) => rows.push(Row {
                place,
                endpoint: item["endpoint"].as_str().unwrap_or_default().to_owned(),
                fields: item,
            }),
            _ => problems.add(&place, "is no JSON object"),
        }
    }
    Ok(rows)
}

fn rows_of_csv(text: &str, problems: &mut Problems) -> Result<Vec<Row>, String> {
    let table = csv::parse(text).map_err(|(line, reason)| format!("line {line}: {reason}"))?;
    let mut table = table.into_iter();
    let (_, header) = table.next().ok_or("is empty: the first line has to name the columns")?;
    let columns: Vec<String> = header.iter().map(|column| column.trim().to_lowercase()).collect();
    if let Some(unknown) = columns.iter().find(|column| !FIELDS.contains(&column.as_str())) {
        return Err(format!("there is no column '{unknown}'; known are {}", FIELDS.join(", ")));
    }
    let distinct: HashSet<&String> = columns.iter().collect();
    if distinct.len() < columns.len() {
        return Err("a column stands twice".to_owned());
    }
    if !columns.iter().any(|column| column == "endpoint") {
        return Err("the first line names no column 'endpoint'".to_owned());
    }
    let mut rows = Vec::new();
    for (line, cells) in table {
        let place = format!("line {line}");
        if cells.len() > columns.len() {
            problems.add(&place, &format!("has {} cells, but there are {} columns", cells.len(), columns.len()));
            continue;
        }
        let mut fields = Map::new();
        for (column, cell) in columns.iter().zip(&cells) {
            // A key in plain text may begin or end with blanks.
            let cell = if column == "key" { cell.as_str() } else { cell.trim() };
            if cell.is_empty() {
                continue;
            }
            let value = if column == "tags" {
                let tags = cell.split(TAG_SEPARATORS).map(str::trim).filter(|tag| !tag.is_empty());
                tags.map(Json::from).collect()
            } else {
                cell.into()
            };
            fields.insert(column.clone(), value);
        }
        let endpoint = fields.get("endpoint").and_then(Json::as_str).unwrap_or_default().to_owned();
        rows.push(Row { place, endpoint, fields: Json::Object(fields) });
    }
    Ok(rows)
}

/// Those that are right, as far as can be told from here: each by itself, and none twice.
fn checked(rows: Vec<Row>, problems: &mut Problems) -> Vec<Row> {
    let mut names: HashMap<(Scope, String), String> = HashMap::new();
    let mut identities: HashMap<(Scope, Vec<u8>), String> = HashMap::new();
    let mut is_right = |row: &Row| {
        let parsed = row.fields.as_object().map(|fields| parse_credential(fields, None));
        let CredentialRequest { scope, endpoint, means, .. } = match parsed {
            Some(Ok(request)) => request,
            Some(Err(wrong)) => {
                problems.add(&row.place, &wrong.to_string());
                return false;
            }
            None => return false,
        };
        let scope = scope.unwrap_or_default();
        if let Some(earlier) = names.insert((scope, endpoint.as_str().to_owned()), row.place.clone()) {
            problems.add(&row.place, &format!("endpoint: '{endpoint}' stands on {earlier} already"));
            return false;
        }
        if let RequestedMeans::Psk { identity, .. } = means
            && let Some(earlier) = identities.insert((scope, identity), row.place.clone())
        {
            problems.add(&row.place, &format!("identity: the same as on {earlier}"));
            return false;
        }
        true
    };
    rows.into_iter().filter(|row| is_right(row)).collect()
}

/// The rows in lists that fit into requests.
fn lists_of(rows: &[Row]) -> Vec<&[Row]> {
    let (mut lists, mut first, mut bytes) = (Vec::new(), 0, 0);
    for (index, row) in rows.iter().enumerate() {
        bytes += row.fields.to_string().len() + 1;
        if index + 1 - first >= MAX_ROWS || bytes >= ENOUGH_BYTES {
            lists.extend(rows.get(first..=index));
            (first, bytes) = (index + 1, 0);
        }
    }
    lists.extend(rows.get(first..).filter(|rest| !rest.is_empty()));
    lists
}

/// Asks for all rows in lists, without looking at the results but for what is wrong.
fn put(gateway: &Gateway, rows: &[Row], parameters: &str, problems: &mut Problems) -> Result<(), NoAnswer> {
    put_into(gateway, rows, parameters, problems, &mut Vec::new())
}

/// Asks for all rows in lists; `results` gets one result for each row.
fn put_into(
    gateway: &Gateway,
    rows: &[Row],
    parameters: &str,
    problems: &mut Problems,
    results: &mut Vec<Json>,
) -> Result<(), NoAnswer> {
    for chunk in lists_of(rows) {
        let body: Json = chunk.iter().map(|row| row.fields.clone()).collect();
        let (status, mut answer) =
            gateway.ask_for_any("POST", &format!("/api/v1/credentials{parameters}"), Some(&body))?;
        let Some(items) = answer["items"].as_array_mut().filter(|items| items.len() == chunk.len()) else {
            let refused = super::gateway_api::refused(status, &answer);
            // What was put before has made keys that nobody else knows.
            let NoAnswer::Failed(reason) = refused else { return Err(refused) };
            if results.is_empty() {
                return Err(NoAnswer::Failed(reason));
            }
            for row in chunk {
                problems.add(&row.place, reason.trim_start_matches("error: "));
            }
            results.extend(chunk.iter().map(|_| json!({ "status": "failed" })));
            continue;
        };
        for (row, item) in chunk.iter().zip(items.iter()) {
            if item["status"] == "failed" {
                let message = item["error"]["message"].as_str().unwrap_or("refused");
                problems.add(&row.place, &format!("{}: {message}", row.endpoint));
            }
        }
        results.append(items);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Json>, Vec<String>) {
        let mut problems = Problems::default();
        let rows = match rows_of(text, &mut problems) {
            Ok(rows) => checked(rows, &mut problems),
            Err(reason) => {
                problems.0.push(reason);
                Vec::new()
            }
        };
        (rows.into_iter().map(|row| row.fields).collect(), problems.0)
    }

    #[test]
    fn a_table_becomes_credentials() {
        let text = "Endpoint,mode,identity,key,key_format,name,tags,scope\n\
                    a,psk,id-a,00ff,hex,Hall,x; y,server\n\
                    b,psk,,,,,,\n\
                    c,nosec,,,,,,bootstrap\n";
        let expected = [
            json!({ "endpoint": "a", "mode": "psk", "identity": "id-a", "key": "00ff", "key_format": "hex",
                    "name": "Hall", "tags": ["x", "y"], "scope": "server" }),
            json!({ "endpoint": "b", "mode": "psk" }),
            json!({ "endpoint": "c", "mode": "nosec", "scope": "bootstrap" }),
        ];
        assert_eq!(read(text), (expected.to_vec(), Vec::new()));
    }

    #[test]
    fn json_is_a_list_or_a_page_of_it() {
        let item = json!({ "endpoint": "a", "mode": "psk" });
        let expected = vec![item.clone()];
        assert_eq!(read(&json!([item]).to_string()).0, expected);
        assert_eq!(read(&json!({ "items": [item] }).to_string()).0, expected);
        assert_eq!(read("[7]").1, ["error: item 1: is no JSON object"]);
        assert_eq!(read("{}").1, ["is no list of credentials"]);
    }

    #[test]
    fn every_bad_line_is_named_and_the_good_ones_stay() {
        let text = "endpoint,mode,identity,key\n\
                    a,psk,i,00\n\
                    b,psk,i,00\n\
                    c,psk,,zz\n\
                    a,psk,,00\n\
                    ,psk,,00\n\
                    d,psk,,00,more\n\
                    e,psk,,00\n";
        let (rows, problems) = read(text);
        let endpoints: Vec<&str> = rows.iter().filter_map(|row| row["endpoint"].as_str()).collect();
        assert_eq!(endpoints, ["a", "e"]);
        let expected = [
            "error: line 7: has 5 cells, but there are 4 columns",
            "error: line 3: identity: the same as on line 2",
            "error: line 4: key: is no hexadecimal text; say key_format if it is base64 or text",
            "error: line 5: endpoint: 'a' stands on line 2 already",
            "error: line 6: endpoint: is missing",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn lists_are_short_and_small() {
        let row = |bytes: usize| Row {
            place: String::new(),
            endpoint: String::new(),
            fields: json!({ "certificate": "x".repeat(bytes) }),
        };
        let lengths = |rows: &[Row]| lists_of(rows).iter().map(|list| list.len()).collect::<Vec<_>>();
        let many: Vec<Row> = (0..1_201).map(|_| row(10)).collect();
        assert_eq!(lengths(&many), [500, 500, 201]);
        assert_eq!(lengths(&many[..500]), [500]);
        let large: Vec<Row> = (0..150).map(|_| row(16 << 10)).collect();
        assert_eq!(lengths(&large), [64, 64, 22]);
        assert_eq!(lengths(&[]), [] as [usize; 0]);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told_whole() {
        for (text, part) in [
            ("", "is empty"),
            ("endpoint,kee\n", "no column 'kee'"),
            ("mode\npsk\n", "no column 'endpoint'"),
            ("endpoint,endpoint\n", "twice"),
            ("endpoint\n\"a", "line 2: a quote"),
        ] {
            let (rows, problems) = read(text);
            assert!(rows.is_empty() && problems.len() == 1 && problems[0].contains(part), "{text}: {problems:?}");
        }
    }
}
