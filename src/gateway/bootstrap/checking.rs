//! What has to hold for an entry with all its accounts (Core TS 1.2.2 section 6.1.3): a device that got less, or two of
//! what may be once, would bootstrap for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::bootstrap::{AccountName, AccountOrName, DeviceEntry, ServerAccount, ServerKind};
use crate::model::path::Path;
use crate::northbound::bootstrap_json::Problem;

/// Everything that is wrong with an entry; `accounts` are its servers, in order.
pub(super) fn check(entry: &DeviceEntry, accounts: &[(String, Arc<ServerAccount>)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut note = |field: String, message: String| problems.push(Problem { field, message });
    let management = accounts.iter().filter(|(_, account)| account.kind == ServerKind::Management).count();
    let leaves_servers = entry.deletes.as_ref().is_some_and(|deletes| !deletes.iter().any(removes_servers));
    if management == 0 && !leaves_servers {
        let message = "there is no management account: the device would have no server to register at. Name one, or \
                       give deletes that leave the objects 0 and 1 alone";
        note("servers".to_owned(), message.to_owned());
    }
    let bootstrap: Vec<usize> = accounts
        .iter()
        .enumerate()
        .filter(|(_, (_, account))| account.kind == ServerKind::Bootstrap)
        .map(|(index, _)| index)
        .collect();
    for second in bootstrap.iter().skip(1) {
        note(format!("servers[{second}]"), "a device has at most one bootstrap account".to_owned());
    }
    let mut ids: BTreeMap<u16, usize> = BTreeMap::new();
    for (index, (_, account)) in accounts.iter().enumerate() {
        let Some(ssid) = account.ssid.filter(|_| account.kind == ServerKind::Management) else { continue };
        if let Some(first) = ids.insert(ssid, index) {
            note(format!("servers[{index}]"), format!("short server id {ssid} is that of servers[{first}] too"));
        }
    }
    let mut names = BTreeMap::new();
    for (index, server) in entry.servers.iter().enumerate() {
        if let AccountOrName::Named(name) = server
            && let Some(first) = names.insert(name, index)
        {
            note(format!("servers[{index}]"), format!("'{name}' stands there twice, first as servers[{first}]"));
        }
    }
    problems
}

/// The same, where accounts are known by name alone.
///
/// # Errors
/// The first name that there is no account of.
pub fn check_among<'a>(
    entry: &DeviceEntry,
    account: impl Fn(&AccountName) -> Option<&'a ServerAccount>,
) -> Result<Vec<Problem>, AccountName> {
    let mut accounts = Vec::with_capacity(entry.servers.len());
    for (index, server) in entry.servers.iter().enumerate() {
        accounts.push(match server {
            AccountOrName::Named(name) => {
                let known = account(name).ok_or_else(|| name.clone())?;
                (name.to_string(), Arc::new(known.clone()))
            }
            AccountOrName::Inline(account) => (format!("#{index}"), Arc::new((**account).clone())),
        });
    }
    Ok(check(entry, &accounts))
}

/// Whether a delete takes server accounts with it.
fn removes_servers(path: &Path) -> bool {
    path.object_id().is_none_or(|object| object <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bootstrap::Security;

    fn account(kind: ServerKind, ssid: Option<u16>) -> Arc<ServerAccount> {
        Arc::new(ServerAccount { ssid, ..ServerAccount::new(kind, Security::NoSec) })
    }

    fn problems(deletes: Option<Vec<Path>>, accounts: &[Arc<ServerAccount>]) -> Vec<String> {
        let servers = (0..accounts.len())
            .map(|index| AccountOrName::Named(AccountName::new(&format!("a{index}")).unwrap()))
            .collect();
        let entry = DeviceEntry { servers, deletes, ..DeviceEntry::default() };
        let named: Vec<(String, Arc<ServerAccount>)> =
            accounts.iter().enumerate().map(|(index, account)| (format!("a{index}"), account.clone())).collect();
        check(&entry, &named).into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
    }

    #[test]
    fn an_entry_needs_a_management_account_unless_it_leaves_the_old_ones() {
        assert!(problems(None, &[]).concat().contains("no management account"));
        assert!(problems(None, &[account(ServerKind::Bootstrap, None)]).concat().contains("no management account"));
        assert!(problems(Some(vec![Path::ROOT]), &[]).concat().contains("no management account"));
        assert!(problems(Some(Vec::new()), &[]).is_empty());
        assert!(problems(Some(vec![Path::object(2)]), &[]).is_empty());
        assert!(problems(None, &[account(ServerKind::Management, None)]).is_empty());
    }

    #[test]
    fn two_bootstrap_accounts_equal_ids_and_equal_names_are_all_told() {
        let (management, bootstrap) = (account(ServerKind::Management, Some(7)), account(ServerKind::Bootstrap, None));
        let told = problems(None, &[management.clone(), bootstrap.clone(), management, bootstrap]);
        assert_eq!(
            told,
            [
                "servers[3]: a device has at most one bootstrap account",
                "servers[2]: short server id 7 is that of servers[0] too",
            ]
        );
        let twice = vec![AccountOrName::Named(AccountName::new("a").unwrap()); 2];
        let entry = DeviceEntry { servers: twice, ..DeviceEntry::default() };
        let named = vec![("a".to_owned(), account(ServerKind::Management, None)); 2];
        assert_eq!(check(&entry, &named).len(), 1);
    }
}
