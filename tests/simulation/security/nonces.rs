//! What must hold for the cryptography, whatever is lost: power, datagrams, writes.

use std::time::Duration;

use lwm2mqtt::simulator::dtls::client::DtlsScript;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::world::WorldScript;

use super::super::checks::{Counters, counting_device};
use super::super::for_some_seeds;
use super::{security, world_of};

#[test]
fn no_nonce_is_used_for_two_records_over_power_cuts_and_nothing_acknowledged_is_lost() {
    for_some_seeds(25, |seed| {
        let mut script = WorldScript::new(seed);
        script.conditions = Conditions { latency_max: Duration::from_millis(120), loss: 0.02, ..Conditions::perfect() };
        // Sessions are stored often, so that a cut meets a write under way.
        script.configuration.lwm2m.sessions.save_interval = Duration::from_secs(1);
        let mut world = world_of(script, ["one", "two", "three"]);
        let mut counters = Counters::new();
        let named = |endpoint| DtlsScript { connection_id: Some(vec![1, 2, 3, 4]), ..security(endpoint) };
        counters.add_secure(&mut world, counting_device("one"), named("one"));
        counters.add_secure(&mut world, counting_device("two"), DtlsScript { resumes: true, ..named("two") });
        counters.add_secure(&mut world, counting_device("three"), security("three").without_connection_id());
        world.run_for(Duration::from_secs(20));
        counters.check_over_power_cuts(&mut world, seed, 8);
        assert!(counters.total() >= 10, "{}", counters.total());
        let nonces = world.tap.as_ref().unwrap().nonces(4);
        assert!(nonces.len() >= 30, "{}", nonces.len());
        for ((session, sequence), records) in nonces {
            assert_eq!(records.len(), 1, "session {session} used {sequence} for {records:?}");
        }
    });
}

#[test]
fn what_is_lost_doubled_and_held_back_keeps_nobody_from_reporting() {
    for_some_seeds(20, |seed| {
        let script = WorldScript { conditions: Conditions::lossy(), ..WorldScript::new(seed) };
        let mut world = world_of(script, ["one", "two"]);
        let mut counters = Counters::new();
        counters.add_secure(&mut world, counting_device("one"), security("one"));
        counters.add_secure(&mut world, counting_device("two"), security("two").without_connection_id());
        world.run_for(Duration::from_secs(120));
        counters.run(&mut world, 10, Duration::from_secs(20));
        world.run_for(Duration::from_secs(200));
        counters.follow(&world);
        counters.check(&world);
        assert!(counters.total() >= 8, "{}", counters.total());
    });
}
