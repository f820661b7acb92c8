//! Nothing that a device is to keep for itself is told to anybody else.

use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use lwm2mqtt::gateway::query::Query;
use lwm2mqtt::gateway::vocabulary::{BootstrapQuery, Input, RequestId};
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, Outage};
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::{factory_key, generous, is_there, know, plain, runs_until, secure, told_key};

/// Everything that left the gateway but for datagrams and the store: messages, events, answers, news of sessions.
fn told(world: &mut World) -> Vec<Vec<u8>> {
    let page = |endpoint| BootstrapQuery::Sessions { endpoint, after: None, limit: 100 };
    for query in [
        BootstrapQuery::Servers,
        BootstrapQuery::Devices { search: String::new(), after: None, limit: 100 },
        BootstrapQuery::Device { name: "*".to_owned() },
        BootstrapQuery::Pending,
        page(None),
        page(Some("secure".to_owned())),
    ] {
        world.input(Input::Request { request: RequestId(0), query: Query::Bootstrap(query) });
    }
    world.run_for(Duration::from_secs(1));
    let messages = world.broker.received.iter();
    let mut told: Vec<Vec<u8>> =
        messages.map(|(_, message)| [message.topic.as_bytes(), &message.payload].concat()).collect();
    told.extend(world.events.iter().map(|event| event.to_json().to_string().into_bytes()));
    told.extend(world.answers.iter().map(|answer| format!("{answer:?}").into_bytes()));
    told.extend(world.bootstrap_news.iter().map(|news| format!("{news:?}").into_bytes()));
    told
}

/// The ways in which a secret could be told.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = HEXLOWER.encode(secret);
    let numbers = format!("{secret:?}");
    let texts = [hex.to_uppercase(), hex, BASE64.encode(secret), BASE64URL_NOPAD.encode(secret), numbers];
    texts.into_iter().map(String::into_bytes).chain([secret.to_vec()]).collect()
}

fn holds(text: &[u8], secret: &[u8]) -> bool {
    text.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn no_key_stands_in_a_message_an_event_an_answer_or_the_log_of_sessions() {
    let outage = Some(Outage { after_finished: 0, at_request: 5, lasts: Duration::from_secs(5) });
    let mut world = World::new(generous(WorldScript::new(1)));
    know(&mut world, "secure");
    world.run_for(Duration::from_secs(1));
    let devices = [
        world.add_device(secure("secure", BootstrapScript::default())),
        world.add_device(plain("plain", BootstrapScript::default())),
        world.add_device(plain("weak", BootstrapScript { outage, ..BootstrapScript::default() })),
        world.add_device(plain("stubborn", BootstrapScript { refuses_finish: 1, ..BootstrapScript::default() })),
    ];
    let all = |world: &World| devices.iter().all(|device| is_there(world, *device));
    assert!(runs_until(&mut world, Duration::from_secs(120), all));
    let mut secrets = vec![factory_key("secure")];
    secrets.extend(devices.iter().map(|device| told_key(&world, *device).unwrap().1));
    let told = told(&mut world);
    // The search finds what is there.
    assert!(told.iter().any(|text| holds(text, b"weak")));
    assert!(told.len() > 20 && world.bootstrap_news.len() > 20);
    for secret in secrets.iter().flat_map(|secret| spellings(secret)) {
        let leak = told.iter().find(|text| holds(text, &secret));
        assert_eq!(leak.map(|text| String::from_utf8_lossy(text)), None);
    }
}
