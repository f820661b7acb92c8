//! A datagram of DTLS records after a byte that chooses suite and length of connection ids: records are cut as they say,
//! nothing opens that was not sealed by the same keys, what was sealed opens once, and any changed byte closes it.
#![no_main]

use lwm2mqtt::protocol::dtls::keys::SessionKeys;
use lwm2mqtt::protocol::dtls::record::{self, MAX_SEQUENCE, PROTECTED_EPOCH, content, split_first};
use lwm2mqtt::protocol::dtls::suite::Suite;
use lwm2mqtt::protocol::dtls::window::ReplayWindow;

const SUITES: [Suite; 4] =
    [Suite::PskAes128Ccm8, Suite::PskAes128Ccm, Suite::PskAes128GcmSha256, Suite::EcdheEcdsaAes128Ccm8];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&choice, datagram)) = input.split_first() else { return };
    let suite = SUITES[usize::from(choice) % SUITES.len()];
    let id_bytes = usize::from(choice >> 2) % 17;
    let keys = |server| SessionKeys::derive(suite, &[7; 48], &[1; 32], &[2; 32], server);
    let (client, server) = (keys(false), keys(true));

    let mut rest = datagram;
    let mut window = ReplayWindow::after(0);
    while let Some((record, following)) = split_first(rest, id_bytes) {
        assert_eq!(record.whole.len() + following.len(), rest.len());
        assert!(record.body.len() < record.whole.len() && record.sequence <= MAX_SEQUENCE);
        assert!(record.connection_id.len() == if record.content_type == content::TLS12_CID { id_bytes } else { 0 });
        assert!(record::open(&server, &record).is_err(), "nobody who wrote this has the keys");
        assert!(SessionKeys::from_bytes(&server.to_bytes()).as_ref() == Some(&server));
        // A number is new at most once.
        if window.may_be_new(record.sequence) {
            window.note(record.sequence);
            assert!(!window.may_be_new(record.sequence) && window.newest() >= record.sequence);
        }
        rest = following;
    }

    // What a peer says, with or without an id, and with a byte changed somewhere.
    let (sequence, plaintext) = datagram.split_at(datagram.len().min(6));
    let sequence = sequence.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let plaintext = &plaintext[..plaintext.len().min(8_000)];
    let id = [choice; 16];
    let sealed =
        record::seal(&client, PROTECTED_EPOCH, sequence, &id[..id_bytes], content::APPLICATION_DATA, plaintext);
    let (sent, following) = split_first(&sealed, id_bytes).expect("what was sealed is a record");
    assert!(following.is_empty());
    assert_eq!((sent.sequence, sent.epoch, sent.connection_id), (sequence, PROTECTED_EPOCH, &id[..id_bytes]));
    let opened = record::open(&server, &sent).expect("it was sealed by the other side");
    assert_eq!(opened, (content::APPLICATION_DATA, plaintext.to_vec()));
    assert!(record::open(&client, &sent).is_err(), "keys of one direction open the other");
    let position = usize::from(u16::from_be_bytes([choice, plaintext.len() as u8])) % sealed.len();
    let mut forged = sealed.clone();
    forged[position] ^= 1 << (choice % 8);
    // The version is not looked at.
    if !(1..3).contains(&position)
        && let Some((record, _)) = split_first(&forged, id_bytes)
    {
        assert!(record::open(&server, &record).is_err(), "byte {position}");
    }
});
