//! The thread as the host sees it.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::io::secure::authority;
use crate::io::secure::identity::{ClientAuthentication, IdentityFiles};
use crate::io::secure::own;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn identity(folder: &Path) -> ServerIdentity {
    let made = own::load_or_make(folder, "edge-1", crate::io::clock::NOT_BEFORE).unwrap();
    ServerIdentity::load(&IdentityFiles {
        certificate: made.certificate,
        private_key: made.private_key,
        raw_public_key: None,
        trust: Vec::new(),
        client_authentication: ClientAuthentication::Required,
    })
    .unwrap()
}

struct Running {
    thread: BootstrapThread,
    inputs: mpsc::Receiver<Vec<Input>>,
}

impl Running {
    fn start(folder: &Path) -> (Self, ServerIdentity) {
        let identity = identity(folder);
        let (sender, inputs) = mpsc::channel(16);
        let thread = BootstrapThread::start(folder.to_owned(), &identity, sender).unwrap();
        (Self { thread, inputs }, identity)
    }

    fn order(&self, number: u64, wishes: &[KeyWish]) {
        let endpoint = Endpoint::new("node-1").unwrap();
        let order = BootstrapOrder::Make { order: OrderId(number), endpoint, wishes: wishes.to_vec() };
        assert!(self.thread.order(order).is_none());
    }

    async fn made(&mut self) -> (u64, Result<Made, String>) {
        let mut batch = timeout(PATIENCE, self.inputs.recv()).await.expect("an answer").unwrap();
        assert_eq!(batch.len(), 1);
        match batch.remove(0) {
            Input::Bootstrap(BootstrapInput::Made { order, result }) => (order.0, result),
            other => panic!("{other:?}"),
        }
    }

    async fn make(&mut self, number: u64, wishes: &[KeyWish]) -> Result<Made, String> {
        self.order(number, wishes);
        let (order, result) = self.made().await;
        assert_eq!(order, number);
        result
    }
}

#[tokio::test]
async fn keys_are_made_in_the_order_of_the_wishes_and_the_gateway_introduces_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, identity) = Running::start(folder.path());
    let made = running.make(1, &[KeyWish::Certificate, KeyWish::RawPublicKey]).await.unwrap();
    let subjects: Vec<_> = made.pairs.iter().map(|pair| pair.subject.as_deref()).collect();
    assert_eq!(subjects, [Some("CN=node-1"), None]);
    assert_eq!(Some(made.server_public_key.to_vec()), identity.raw_public_key_spki());
    assert_eq!(*made.server_certificate, *identity.certificate.to_der().unwrap());
}

#[tokio::test]
async fn an_authority_is_made_only_when_a_certificate_is_wished() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, _) = Running::start(folder.path());
    assert_eq!(running.make(1, &[]).await.unwrap().pairs, []);
    assert_eq!(running.make(2, &[KeyWish::RawPublicKey]).await.unwrap().pairs.len(), 1);
    assert!(!folder.path().join(authority::KEY_FILE).exists());
    running.make(3, &[KeyWish::Certificate]).await.unwrap();
    assert!(folder.path().join(authority::CERTIFICATE_FILE).exists());
}

#[tokio::test]
async fn another_identity_of_the_gateway_is_told_from_then_on() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut running, former) = Running::start(folder.path());
    let other = identity(elsewhere.path());
    running.thread.identity_setter()(&other);
    let made = running.make(1, &[]).await.unwrap();
    assert_eq!(*made.server_certificate, *other.certificate.to_der().unwrap());
    assert_ne!(Some(made.server_public_key.to_vec()), former.raw_public_key_spki());
}

#[tokio::test]
async fn files_of_the_authority_that_cannot_be_used_are_told_until_they_are_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join(authority::KEY_FILE);
    std::fs::write(folder.path().join(authority::CERTIFICATE_FILE), "damaged").unwrap();
    std::fs::write(&key, "damaged").unwrap();
    let (mut running, _) = Running::start(folder.path());
    let error = running.make(1, &[KeyWish::RawPublicKey, KeyWish::Certificate]).await.unwrap_err();
    assert!(error.starts_with(&key.display().to_string()), "{error}");
    assert_eq!(running.make(2, &[KeyWish::RawPublicKey]).await.unwrap().pairs.len(), 1, "which needs no authority");
    std::fs::remove_file(&key).unwrap();
    std::fs::remove_file(folder.path().join(authority::CERTIFICATE_FILE)).unwrap();
    running.make(3, &[KeyWish::Certificate]).await.unwrap();
}

#[tokio::test]
async fn the_thread_ends_with_its_handle() {
    let folder = tempfile::tempdir().unwrap();
    let (Running { thread, mut inputs }, _) = Running::start(folder.path());
    let setter = thread.identity_setter();
    drop(thread);
    assert!(timeout(PATIENCE, inputs.recv()).await.expect("an end").is_none());
    drop(setter);
}
