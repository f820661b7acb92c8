//! The thread as the host sees it.

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::gateway::bootstrap::orders::{OrderId, ProvisionCredential};
use crate::io::secure::authority;
use crate::io::secure::identity::{ClientAuthentication, IdentityFiles};
use crate::io::secure::own;
use crate::model::bootstrap::ProvisionKind;
use crate::model::credential::SecretBytes;

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

/// A server that takes connections and says nothing.
async fn silent() -> (TcpListener, Arc<ProvisionTarget>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = ProvisionTarget { kind: ProvisionKind::Leshan, url, user: None, password: None, domain: None };
    (listener, Arc::new(target))
}

fn provisioning(number: usize, target: &Arc<ProvisionTarget>) -> BootstrapOrder {
    let key = SecretBytes::new(&[7; 16]);
    BootstrapOrder::Provision {
        order: OrderId(number as u64),
        target: target.clone(),
        endpoint: Endpoint::new("node-1").unwrap(),
        credential: ProvisionCredential::Psk { identity: "i".to_owned(), key },
    }
}

fn provisioned(input: &Input) -> (u64, Option<&str>) {
    match input {
        Input::Bootstrap(BootstrapInput::Provisioned { order, result }) => {
            (order.0, result.as_ref().err().map(String::as_str))
        }
        other => panic!("{other:?}"),
    }
}

impl Running {
    async fn provisioned(&mut self) -> (u64, Option<String>) {
        let batch = timeout(PATIENCE, self.inputs.recv()).await.expect("an answer").unwrap();
        assert_eq!(batch.len(), 1);
        let (order, error) = provisioned(&batch[0]);
        (order, error.map(str::to_owned))
    }
}

#[tokio::test]
async fn a_silent_server_holds_up_neither_keys_nor_another_server() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, _) = Running::start(folder.path());
    let (listener, target) = silent().await;
    for number in 0..=PROVISIONS_AT_ONCE {
        assert!(running.thread.order(provisioning(number, &target)).is_none());
    }
    let mut connections = Vec::new();
    for _ in 0..PROVISIONS_AT_ONCE {
        connections.push(timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap());
    }
    running.make(100, &[KeyWish::RawPublicKey]).await.unwrap();
    let (other_listener, other) = silent().await;
    assert!(running.thread.order(provisioning(101, &other)).is_none());
    drop(timeout(PATIENCE, other_listener.accept()).await.expect("a connection").unwrap());
    let (order, error) = running.provisioned().await;
    assert!(error.unwrap().contains("cannot be asked"));
    assert_eq!(order, 101);
    // The last waits until there is room.
    assert!(listener.accept().now_or_never().is_none());
    connections.clear();
    timeout(PATIENCE, listener.accept()).await.expect("the last").unwrap();
}

#[tokio::test]
async fn provisions_that_find_no_room_are_answered_at_once() {
    let (_listener, target) = silent().await;
    let mut provisions = Provisions::new(PATIENCE);
    for number in 0..MAX_PROVISIONS {
        assert!(provisions.begin(provisioning(number, &target)).is_none());
    }
    let refused = provisions.begin(provisioning(MAX_PROVISIONS, &target)).expect("an answer");
    let (order, error) = provisioned(&refused);
    assert_eq!(order, MAX_PROVISIONS as u64);
    assert!(error.unwrap().contains("too many"));
}

#[tokio::test]
async fn provisions_end_in_time_those_that_wait_too_and_silent_servers_are_forgotten() {
    let (_listener, target) = silent().await;
    let mut provisions = Provisions::new(Duration::from_millis(20));
    for number in 0..=PROVISIONS_AT_ONCE {
        assert!(provisions.begin(provisioning(number, &target)).is_none());
    }
    let mut ended = Vec::new();
    for _ in 0..=PROVISIONS_AT_ONCE {
        let done = timeout(PATIENCE, provisions.next()).await.expect("an end");
        let (order, error) = provisioned(&done);
        assert!(error.unwrap().starts_with(&format!("{}: took longer", target.url)));
        ended.push(order);
    }
    ended.sort_unstable();
    assert!(ended.into_iter().eq(0..=PROVISIONS_AT_ONCE as u64));
    let (_other_listener, other) = silent().await;
    provisions.begin(provisioning(0, &other));
    assert_eq!(provisions.rooms.len(), 1);
}

#[tokio::test]
async fn orders_that_find_no_room_are_answered_with_an_error() {
    let (orders, mut receiver) = mpsc::channel(1);
    let folder = tempfile::tempdir().unwrap();
    let introduction = watch::Sender::new(Introduction::new(&identity(folder.path())));
    let thread = BootstrapThread { orders, introduction };
    let (_listener, target) = silent().await;
    assert!(thread.order(provisioning(1, &target)).is_none());
    let refused = thread.order(provisioning(2, &target)).expect("an answer");
    assert_eq!(provisioned(&refused), (2, Some("too many orders of the bootstrap server wait")));
    receiver.close();
    let refused = thread.order(provisioning(3, &target)).expect("an answer");
    assert_eq!(provisioned(&refused), (3, Some("the thread of the bootstrap server is gone")));
}
