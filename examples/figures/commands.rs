//! Commands to devices that are awake: each device has one under way all the time, by MQTT or by HTTP.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout_at};

use super::rig::Outcome;

/// What came of the commands of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Ended `done`.
    pub(crate) done: u64,
    /// Ended otherwise.
    pub(crate) failed: u64,
}

type Shared = Rc<RefCell<Tally>>;

fn read(id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"operation\":\"read\",\"path\":\"/3303/0/5700\"}}")
}

/// Commands by MQTT; a device gets the next one when it has the result of the last.
pub(crate) async fn by_mqtt(mqtt: u16, devices: u32, prefix: &str, time: Duration) -> Outcome<Tally> {
    let mut options = MqttOptions::new("figures-commands", "127.0.0.1", mqtt);
    options.set_max_packet_size(1 << 20, 1 << 20);
    options.set_inflight(u16::try_from(devices)?.max(100));
    let (client, mut connection) = AsyncClient::new(options, 1_024);
    client.subscribe("lwm2m/+/response", QoS::AtMostOnce).await?;
    let end = Instant::now() + time;
    let mut tally = Tally::default();
    let mut number = 0_u64;
    let mut started = false;
    while let Ok(Ok(event)) = timeout_at(end, connection.poll()).await {
        match event {
            Event::Incoming(Packet::SubAck(_)) if !started => {
                started = true;
                for device in 0..devices {
                    number += 1;
                    let topic = format!("lwm2m/{prefix}{device:06}/command");
                    client.try_publish(topic, QoS::AtLeastOnce, false, read(&format!("m{number}")))?;
                }
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let body: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
                match body["status"].as_str() {
                    Some("queued") => continue,
                    Some("done") => tally.done += 1,
                    _ => tally.failed += 1,
                }
                number += 1;
                let topic = publish.topic.replace("/response", "/command");
                client.try_publish(topic, QoS::AtLeastOnce, false, read(&format!("m{number}")))?;
            }
            _ => {}
        }
    }
    Ok(tally)
}

/// Commands by HTTP, over one connection for each device that stays open.
pub(crate) async fn by_http(http: u16, devices: u32, prefix: &str, time: Duration) -> Outcome<Tally> {
    let tally = Shared::default();
    let mut tasks = Vec::new();
    for device in 0..devices {
        let target = format!("/api/v1/devices/{prefix}{device:06}/commands?wait=10s");
        let tally = Rc::clone(&tally);
        tasks.push(spawn_local(async move {
            // A connection that breaks shows in the count.
            let _ = ask_on(http, &target, device, &tally).await;
        }));
    }
    sleep(time).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let tally = *tally.borrow();
    Ok(tally)
}

async fn ask_on(http: u16, target: &str, device: u32, tally: &Shared) -> Outcome<()> {
    let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, http)).await?);
    stream.get_ref().set_nodelay(true)?;
    for number in 0_u64.. {
        let body = read(&format!("h{device}-{number}"));
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{http}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await?;
        let (mut status, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Err("the gateway closed the connection".into());
            }
            if line == "\r\n" {
                break;
            }
            if status.is_empty() {
                status.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        let mut tally = tally.borrow_mut();
        if status.contains(" 200 ") { tally.done += 1 } else { tally.failed += 1 }
    }
    Ok(())
}
