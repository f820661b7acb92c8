//! Real sockets on the loopback interface.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

/// Long enough that only a fault takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what is wrongly sent to arrive.
const MOMENT: Duration = Duration::from_millis(100);

struct Bench {
    connections: TcpConnections,
    inputs: mpsc::Receiver<Vec<Input>>,
}

impl Bench {
    fn new(longest_message: usize) -> Self {
        Self::of(TcpConnections::new(longest_message))
    }

    fn of(mut connections: TcpConnections) -> Self {
        let (sender, inputs) = mpsc::channel(16);
        connections.listen(3, SocketAddr::from(([127, 0, 0, 1], 0)), sender).unwrap();
        Self { connections, inputs }
    }

    async fn connect(&mut self) -> (TcpStream, ConnectionId) {
        let client = TcpStream::connect(self.connections.addresses()[0]).await.unwrap();
        let (peer, id, input) = self.next().await;
        assert_eq!((input, peer.listener), (StreamInput::Opened { identity: None }, 3));
        assert_eq!(peer.remote, client.local_addr().unwrap());
        (client, id)
    }

    async fn next(&mut self) -> (Peer, ConnectionId, StreamInput) {
        let batch = timeout(PATIENCE, self.inputs.recv()).await.expect("an input").unwrap();
        match &batch[..] {
            [Input::Stream { peer, connection, input }] => (*peer, *connection, input.clone()),
            other => panic!("{other:?}"),
        }
    }

    async fn next_closed(&mut self, id: ConnectionId) -> String {
        match self.next().await {
            (_, closed, StreamInput::Closed { reason }) if closed == id => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn hears_nothing(&mut self) -> bool {
        timeout(MOMENT, self.inputs.recv()).await.is_err()
    }
}

async fn read_to_end(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut bytes)).await.expect("the end").unwrap();
    bytes
}

#[tokio::test]
async fn bytes_go_both_ways_in_order_and_the_end_is_told() {
    let mut bench = Bench::new(1 << 20);
    let (mut client, id) = bench.connect().await;
    client.write_all(b"up").await.unwrap();
    assert_eq!(bench.next().await.2, StreamInput::Bytes(b"up".to_vec()));
    for piece in [&b"do"[..], b"wn"] {
        bench.connections.order(id, StreamOrder::Send(piece.to_vec()));
    }
    let mut down = [0; 4];
    client.read_exact(&mut down).await.unwrap();
    assert_eq!(&down, b"down");
    drop(client);
    assert_eq!(bench.next_closed(id).await, "the device closed the connection");
    bench.connections.order(id, StreamOrder::Send(b"late".to_vec()));
    assert!(bench.hears_nothing().await);
}

#[tokio::test]
async fn a_closed_connection_gets_what_waits_and_nothing_more_is_told_of_it() {
    let mut bench = Bench::new(8 << 20);
    let (mut client, id) = bench.connect().await;
    let large = vec![7; 8 << 20];
    bench.connections.order(id, StreamOrder::Send(large.clone()));
    bench.connections.order(id, StreamOrder::Close);
    bench.connections.order(id, StreamOrder::Send(b"too late".to_vec()));
    client.write_all(b"not heard").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, large);
    assert!(bench.hears_nothing().await);
}

#[tokio::test]
async fn who_does_not_listen_is_not_listened_to() {
    let mut bench = Bench::new(16 << 20);
    let (mut client, id) = bench.connect().await;
    let large = vec![7; 16 << 20];
    bench.connections.order(id, StreamOrder::Send(large.clone()));
    client.write_all(b"a question").await.unwrap();
    assert!(bench.hears_nothing().await);
    let mut read = vec![0; large.len()];
    timeout(PATIENCE, client.read_exact(&mut read)).await.unwrap().unwrap();
    assert!(read == large);
    assert_eq!(bench.next().await.2, StreamInput::Bytes(b"a question".to_vec()));
}

#[tokio::test]
async fn a_paused_connection_is_read_again_when_it_is_resumed() {
    let mut bench = Bench::new(1 << 20);
    let (mut client, id) = bench.connect().await;
    bench.connections.order(id, StreamOrder::Pause);
    // The task has to hear of it before the bytes come.
    tokio::task::yield_now().await;
    client.write_all(b"a question").await.unwrap();
    assert!(bench.hears_nothing().await);
    bench.connections.order(id, StreamOrder::Resume);
    assert_eq!(bench.next().await.2, StreamInput::Bytes(b"a question".to_vec()));
}

#[tokio::test]
async fn a_connection_that_takes_too_little_is_closed_at_its_bound() {
    let mut bench = Bench::new(16 << 20);
    let (client, id) = bench.connect().await;
    for _ in 0..4 {
        bench.connections.order(id, StreamOrder::Send(vec![7; 16 << 20]));
    }
    assert_eq!(bench.next_closed(id).await, "the device takes too little of what is sent to it");
    drop(client);
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_closed_in_time() {
    let mut connections = TcpConnections::new(16 << 20);
    connections.acceptor.bounds.stall_time = MOMENT;
    let mut bench = Bench::of(connections);
    let (client, id) = bench.connect().await;
    bench.connections.order(id, StreamOrder::Send(vec![7; 16 << 20]));
    assert_eq!(bench.next_closed(id).await, "the device takes nothing of what is sent to it");
    drop(client);
}

#[tokio::test]
async fn an_address_in_use_is_told_with_its_remedy() {
    let bench = Bench::new(1 << 20);
    let (sender, _inputs) = mpsc::channel(1);
    let taken = bench.connections.addresses()[0];
    let error = TcpConnections::new(1).listen(0, taken, sender).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on tcp {taken}: ")) && error.contains("another port"), "{error}");
}
