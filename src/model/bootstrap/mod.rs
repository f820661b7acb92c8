//! What a bootstrap server hands out: server accounts, and which device gets which of them.
//!
//! A [`ServerAccount`] is one instance of the Security object (0) with one of the Server object (1), as Core TS 1.2.2
//! Appendix E.1 and E.2 have them. A [`DeviceEntry`] says what the devices that fit its name or pattern get. Both are
//! templates: a secret may be made anew for each device, and texts may hold [variables](Template).

mod account;
mod entry;
mod template;

pub use account::{
    AccountName, AccountTransport, ClientKeys, Provision, ProvisionKind, ProvisionTarget, PskKey, Registration,
    Security, SecurityMode, ServerAccount, ServerKind, Sms, WrongName,
};
pub use entry::{AccessControl, AccountOrName, DeviceEntry, EntryName, WriteBy};
pub use template::{Template, TemplateValues};
